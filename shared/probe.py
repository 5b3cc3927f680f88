"""A container's health check: `python -m shared.probe` ends with status 0 when the process on PORT answers /health."""

import os
import sys
from http.client import HTTPConnection

_ANSWER_WITHIN_S = 2


def healthy(port: int) -> bool:
    """Whether `GET /health` on this machine's `port` says 200. Raises OSError when nobody answers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=_ANSWER_WITHIN_S)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    finally:
        connection.close()


if __name__ == "__main__":
    try:
        sys.exit(0 if healthy(int(os.environ.get("PORT") or "8080")) else "not healthy")
    except OSError as error:
        sys.exit(f"no answer: {error}")
