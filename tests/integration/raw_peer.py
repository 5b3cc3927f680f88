"""A peer of a media socket that does what no library lets a gateway do: fragments, hang-ups, silence.

Source: RFC 6455, "The WebSocket Protocol".
"""

import asyncio
import base64
import hashlib
import ssl
from collections.abc import Awaitable, Callable

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


class Peer:
    """One accepted connection, after the client's request was read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        self.reader = reader
        self.writer = writer
        self.headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in request.decode().splitlines()[1:])
        }

    def upgrade(self) -> None:
        """Accept the WebSocket."""
        digest = hashlib.sha1(self.headers["sec-websocket-key"].encode() + _MAGIC).digest()  # noqa: S324 - RFC 6455
        head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.writer.write(f"{head}Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n\r\n".encode())

    def send(self, payload: bytes, kind: int = TEXT, *, fin: bool = True) -> None:
        """Send one frame."""
        head = bytes([kind | (0x80 if fin else 0)])
        size = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
        self.writer.write(head + size + payload)

    async def read(self) -> tuple[int, bytes]:
        """The next frame, unmasked. Raises IncompleteReadError or ConnectionResetError at the end."""
        kind, size = await self.reader.readexactly(2)
        length = size & 0x7F
        if length == 126:
            length = int.from_bytes(await self.reader.readexactly(2), "big")
        mask = await self.reader.readexactly(4)
        masked = await self.reader.readexactly(length)
        return kind & 0x0F, bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked))


class RawServer:
    """Runs `script` for each connection; `url` is where."""

    def __init__(self, script: Callable[[Peer], Awaitable[None]], tls: ssl.SSLContext | None = None) -> None:
        self.url = ""
        self._script = script
        self._tls = tls
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "RawServer":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"ws{'s' if self._tls else ''}://localhost:{port}/media"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._script(Peer(reader, writer, await reader.readuntil(b"\r\n\r\n")))
        finally:
            writer.close()
