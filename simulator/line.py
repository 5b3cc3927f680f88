"""One media socket, as Twilio holds it: messages out in order, audio, marks and clears in."""

import contextlib
import secrets
from collections.abc import Callable

import aiohttp

from simulator.playback import Playback
from simulator.wire import BadMessage, Clear, Mark, Media, Wire, read

HANDSHAKE_S = 10.0


class Line:
    """An open media stream."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, wire: Wire) -> None:
        """Use `connect`."""
        self._socket = socket
        self._wire = wire

    async def _send(self, message: str) -> None:
        # A socket that the gateway has just closed: `receive` ends and tells.
        with contextlib.suppress(ConnectionError):
            await self._socket.send_str(message)

    async def frame(self, mulaw: bytes) -> None:
        """Send the caller's next 20 ms."""
        await self._send(self._wire.media(mulaw))

    async def echo(self, names: list[str]) -> None:
        """Tell that these marks were reached, or cleared."""
        for name in names:
            await self._send(self._wire.mark(name))

    async def press(self, digit: str) -> None:
        """Tell that the caller pressed a key."""
        await self._send(self._wire.dtmf(digit))

    async def receive(self, playback: Playback, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        """Play what comes until the gateway closes the socket. Raises BadMessage for what Twilio refuses."""
        async for message in self._socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                raise BadMessage(f"a text message was expected, not {message.type.name}")
            match read(message.data, self._wire.stream_sid):
                case Media(payload):
                    playback.append(clock(), payload)
                case Mark(name):
                    playback.mark(name)
                case Clear():
                    await self.echo(playback.clear(clock()))
            await self.echo(playback.due(clock()))
            changed()

    async def stop(self) -> None:
        """The call is over: say so."""
        await self._send(self._wire.stop())

    async def close(self) -> None:
        """Close the socket; a gateway that is gone takes no longer than a second."""
        await self._socket.close()


async def connect(
    http: aiohttp.ClientSession, url: str, signature: str, sids: tuple[str, str], parameters: dict[str, str]
) -> Line:
    """Open the stream at `url` for the account and call `sids`. Raises aiohttp.ClientError, OSError or TimeoutError."""
    socket = await http.ws_connect(
        url,
        headers={"X-Twilio-Signature": signature},
        timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
        max_msg_size=1 << 20,
    )
    wire = Wire(*sids, stream_sid="MZ" + secrets.token_hex(16))
    line = Line(socket, wire)
    await line._send(wire.connected())
    await line._send(wire.start(parameters))
    return line
