"""One media socket, as Twilio holds it: messages out in order, audio, marks and clears in."""

import asyncio
import math
import os
import secrets
import socket
import ssl
import struct
from collections.abc import Callable
from functools import cache

from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from simulator.playback import Playback
from simulator.wire import BadMessage, Clear, Mark, Media, Wire, read

HANDSHAKE_S = 10.0
_CLOSE_S = 1.0
_MAX_MESSAGE = 1 << 20
_TEXT, _BINARY, _CONTINUATION, _CLOSE = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION, WSMsgType.CLOSE


class _Player:
    """Plays what comes on a line, and returns the marks when they are due."""

    def __init__(
        self,
        playback: Playback,
        clock: Callable[[], float],
        changed: Callable[[], None],
        echo: Callable[[list[str]], None],
    ) -> None:
        self._playback = playback
        self._clock = clock
        self._changed = changed
        self._echo = echo
        self._timer: asyncio.TimerHandle | None = None

    def take(self, message: Media | Mark | Clear) -> None:
        match message:
            case Media(payload):
                self._playback.append(self._clock(), payload)
            case Mark(name):
                self._playback.mark(name)
            case Clear():
                self._echo(self._playback.clear(self._clock()))
                # The next mark may be due before the one that the timer waits for.
                self.stop()
        if self._playback.next_mark is not None:
            self._echo_due()
        self._changed()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _echo_due(self) -> None:
        now = self._clock()
        self._echo(self._playback.due(now))
        if self._timer is None and (at := self._playback.next_mark) is not None:
            # uvloop's timers count whole milliseconds; what is rounded down would wake the loop for nothing.
            wait_s = math.ceil((at - now) * 1000) / 1000
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._echo_due()


class Line(WSListener):
    """An open media stream. Its messages are handled as they come: there is no task for each."""

    def __init__(self, wire: Wire) -> None:
        """Use `connect`."""
        self._wire = wire
        self._transport: WSTransport
        self._player: _Player | None = None
        self._early: list[bytes] = []
        """Messages that came before anybody listened."""
        self._part = bytearray()
        """What came of a message in fragments."""
        self._ended = asyncio.Event()
        self._refused: BadMessage | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind == _TEXT and frame.fin:
            self._take(frame.get_payload_as_bytes())
        elif kind == _CLOSE:
            self._ended.set()
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        elif kind == _BINARY:
            self._refuse("a text message was expected, not BINARY")
        elif kind in (_TEXT, _CONTINUATION):
            self._take_part(frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._ended.set()

    def _take_part(self, frame: WSFrame) -> None:
        self._part += frame.get_payload_as_bytes()
        if len(self._part) > _MAX_MESSAGE:
            self._refuse(f"a message of more than {_MAX_MESSAGE} bytes")
            self._part.clear()
        elif frame.fin:
            self._take(bytes(self._part))
            self._part.clear()

    def _take(self, text: bytes) -> None:
        # picows may hand out what follows a violation of the protocol.
        if self._ended.is_set() or self._transport.is_close_frame_sent:
            return
        if self._player is None:
            self._early.append(text)
            return
        try:
            self._player.take(read(text, self._wire.stream_sid))
        except BadMessage as error:
            self._refuse(str(error))

    def _refuse(self, problem: str) -> None:
        if not self._ended.is_set():
            self._refused = BadMessage(problem)
            self._ended.set()

    def _send(self, message: str) -> None:
        # Nothing is sent, and nothing raised, when the gateway has just closed: `receive` ends and tells.
        self._transport.send(_TEXT, message)

    def start(self, parameters: dict[str, str]) -> None:
        """Begin the stream."""
        self._send(self._wire.connected())
        self._send(self._wire.start(parameters))

    def send_frame(self, mulaw: bytes) -> None:
        """Send the caller's next 20 ms."""
        self._send(self._wire.media(mulaw))

    def echo(self, names: list[str]) -> None:
        """Tell that these marks were reached, or cleared."""
        for name in names:
            self._send(self._wire.mark(name))

    def press(self, digit: str) -> None:
        """Tell that the caller pressed a key."""
        self._send(self._wire.dtmf(digit))

    async def receive(self, playback: Playback, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        """Play what comes until the gateway closes the socket. Raises BadMessage for what Twilio refuses."""
        player = self._player = _Player(playback, clock, changed, self.echo)
        try:
            early, self._early = self._early, []
            for text in early:
                self._take(text)
            await self._ended.wait()
        finally:
            player.stop()
            self._player = None
        if self._refused is not None:
            raise self._refused
        closing = self._transport.close_handshake
        if closing is not None and closing.sent is not None and closing.sent.code != WSCloseCode.OK:
            # picows closes by itself what breaks the WebSocket protocol.
            raise BadMessage(closing.sent.reason)

    def stop(self) -> None:
        """The call is over: say so."""
        self._send(self._wire.stop())

    async def close(self) -> None:
        """Close the socket; a gateway that is gone takes no longer than a second."""
        self._ended.set()
        self._transport.send_close(WSCloseCode.OK)
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._transport.wait_disconnected()
        except TimeoutError:
            self._transport.disconnect(graceful=False)
        except WSError:
            # `receive` has told.
            return

    def abort(self) -> None:
        """Reset the connection, as a machine that is gone does when it is asked."""
        transport = self._transport.underlying_transport
        if self._transport.is_disconnected:
            return
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


@cache
def _trust() -> ssl.SSLContext:
    """The system's certificates; reading them takes milliseconds."""
    return ssl.create_default_context()


async def connect(url: str, signature: str, sids: tuple[str, str], parameters: dict[str, str]) -> Line:
    """Open the stream at `url` for the account and call `sids`. Raises OSError or TimeoutError."""
    line = Line(Wire(*sids, stream_sid="MZ" + secrets.token_hex(16)))
    try:
        _, opened = await ws_connect(
            lambda request, response: line,
            url,
            ssl_context=_trust() if url.startswith("wss:") else None,
            websocket_handshake_timeout=HANDSHAKE_S,
            extra_headers={"X-Twilio-Signature": signature},
            max_frame_size=_MAX_MESSAGE,
        )
    except OSError:
        # A certificate that is not trusted is an OSError and a ValueError.
        raise
    except (WSError, ValueError) as error:
        raise ConnectionError(str(error)) from error
    # picows has no listener, and no error, when the gateway hangs up in the middle of the handshake.
    if opened is None:
        raise ConnectionResetError("the gateway hung up in the handshake")
    line.start(parameters)
    return line
