"""A web socket on picows: messages are taken in the protocol's callback, without a task for each of them."""

import asyncio
from collections import deque
from collections.abc import Callable

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

Message = bytes | memoryview
"""The text or the bytes of a message; a memoryview is valid until the receiver returns."""
_CLOSE_WITHIN_S = 10.0
"""A peer that does not answer to a close is cut off."""
_TEXT, _BINARY, _CONTINUATION, _CLOSE = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION, WSMsgType.CLOSE


class SocketClosed(Exception):
    """The peer, or this side, has closed the socket."""


class MediaSocket(WSListener):
    """One socket on the server's side, whose handshake is done by picows.

    Until there is a receiver the peer is read one message at a time, so that a peer who is too quick must wait.
    """

    def __init__(self, max_message: int, opened: Callable[["MediaSocket"], None], arrived: Callable[[], None]) -> None:
        """`max_message` bytes are allowed; `opened` is called when the handshake is done, `arrived` after a message."""
        self.code = 0
        """With which the peer closed; 0 when it did not say."""
        self._max_message = max_message
        self._opened = opened
        self._arrived = arrived
        self._transport: WSTransport
        self._receiver: Callable[[Message], None] | None = None
        self._waiting: deque[bytes] = deque()
        self._fragments: list[bytes] = []
        self._changed = asyncio.Event()
        self._ended: list[Callable[[], None]] = []
        self._over = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._cut: asyncio.TimerHandle | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        receiver = self._receiver
        if kind is _TEXT and receiver is not None and frame.fin and not (self._fragments or self._over):
            # Fifty times a second for each call.
            receiver(frame.get_payload_as_memoryview())
            self._arrived()
        elif kind is _CLOSE:
            self._closed_by_peer(frame)
        elif self._over:
            return
        elif kind is _TEXT or kind is _BINARY or kind is _CONTINUATION:
            if (kind is _CONTINUATION) != bool(self._fragments):
                self.close(WSCloseCode.PROTOCOL_ERROR.value)
            elif frame.fin and not self._fragments:
                self._take(frame.get_payload_as_memoryview())
            else:
                self._collect(frame)

    def _collect(self, frame: WSFrame) -> None:
        self._fragments.append(frame.get_payload_as_bytes())
        if sum(map(len, self._fragments)) > self._max_message:
            self.close(WSCloseCode.MESSAGE_TOO_BIG.value)
        elif frame.fin:
            message = b"".join(self._fragments)
            self._fragments.clear()
            self._take(message)

    def _take(self, message: Message) -> None:
        if self._receiver is not None:
            self._receiver(message)
            return
        self._waiting.append(bytes(message))
        self._changed.set()
        if not self._transport.underlying_transport.is_closing():
            self._transport.underlying_transport.pause_reading()

    def _read_on(self) -> None:
        # Unless a message waits.
        transport = self._transport.underlying_transport
        if not (self._waiting or transport.is_closing()):
            transport.resume_reading()

    async def receive(self) -> bytes:
        """The next message. Raises SocketClosed."""
        while not self._waiting:
            if self._over:
                raise SocketClosed
            self._changed.clear()
            await self._changed.wait()
        message = self._waiting.popleft()
        self._read_on()
        return message

    def listen(self, receiver: Callable[[Message], None], ended: Callable[[], None]) -> None:
        """Have `receiver` called with each message as it comes, and `ended` once when no more will come."""
        self._receiver = receiver
        self._ended.append(ended)
        while self._waiting:
            receiver(self._waiting.popleft())
        if self._over:
            self._end()
        else:
            self._read_on()

    async def send(self, text: str) -> None:
        """Send a message, when the peer has taken those before; does nothing when the socket is closed."""
        await self._writable.wait()
        if not self._over:
            self._transport.send(_TEXT, text)

    def close(self, code: int, reason: str = "") -> None:
        """Close with `code`, as a handshake with the peer; the first close counts."""
        if self._over:
            return
        self._end()
        self._transport.send_close(WSCloseCode(code), reason)
        self._read_on()
        loop = asyncio.get_running_loop()
        self._cut = loop.call_later(_CLOSE_WITHIN_S, self._transport.disconnect, False)

    def shut(self, code: int) -> None:
        """Close without waiting for the peer's answer."""
        self.close(code)
        self._transport.disconnect()

    def _closed_by_peer(self, frame: WSFrame) -> None:
        if not self._over:
            code = frame.get_close_code()
            self.code = code.value
            self._end()
            self._transport.send_close(code if code.value else WSCloseCode.OK)
        self._transport.disconnect()

    def _end(self) -> None:
        self._over = True
        self._waiting.clear()
        self._fragments.clear()
        self._changed.set()
        self._writable.set()
        ended, self._ended = self._ended, []
        for tell in ended:
            tell()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._cut is not None:
            self._cut.cancel()
        self._end()

    def pause_writing(self) -> None:
        if not self._over:
            self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
