"""Audio on its way to the broker: what becomes ready within one turn of the event loop leaves with one write.

nats-py's own `publish` wakes its flusher for each message. Its buffer is for what may wait; audio may not: it goes past
that to the connection, and is lost with it.
"""

import asyncio

import nats.errors
import structlog
from nats.aio.client import Client

log = structlog.get_logger()


class Outlet:
    """Publishes on one connection, in order, without waiting; nothing is kept while there is no connection."""

    def __init__(self, client: Client) -> None:
        """`client` is connected."""
        self._client = client
        self._call_soon = asyncio.get_running_loop().call_soon
        self._ready: list[bytes] = []

    def publish(self, subject: str, payload: bytes) -> None:
        """Send with this turn of the loop. `subject` is not checked. Raises nats.errors.MaxPayloadError."""
        if len(payload) > self._client.max_payload:
            raise nats.errors.MaxPayloadError
        if not self._ready:
            self._call_soon(self.flush)
        self._ready.append(b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(payload), payload))

    def flush(self) -> None:
        """Write what is ready."""
        commands = b"".join(self._ready)
        self._ready.clear()
        transport = self._client._transport
        if transport is None or not (commands and self._client.is_connected):
            return
        try:
            transport.write(commands)
        except (OSError, RuntimeError) as error:
            # The transport is closed, and the client is about to notice.
            log.debug("audio_lost", error=repr(error))
