"""The broker of a ring: which nats-server to run, and whether it answers."""

import asyncio
import json
import shutil
import sys
from pathlib import Path

from simulator.plan import ProcessFailed


def command(host: str, port: int, store: Path) -> list[str]:
    """nats-server with JetStream: the binary beside this Python, else of the PATH. Raises ProcessFailed."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise ProcessFailed("no nats-server: install requirements-dev.txt, or put one on the PATH")
    return [found, "--addr", host, "--port", str(port), "--jetstream", "--store_dir", str(store)]


async def missing(host: str, port: int) -> str:
    """What the server at `host`:`port` still lacks; "" when it is ready.

    Source: NATS client protocol; a server greets with `INFO {…}`.
    """
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return str(error)
    try:
        greeting = await asyncio.wait_for(reader.readline(), 2)
        return "" if json.loads(greeting.partition(b" ")[2]).get("jetstream") else "it has no JetStream"
    except (TimeoutError, ValueError, OSError) as error:
        return repr(error)
    finally:
        writer.close()
