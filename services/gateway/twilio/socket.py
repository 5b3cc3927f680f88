"""A Twilio media socket behind the carrier's seam."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog

from services.gateway.media import Digit, HungUp, Mark, MediaEvent, OnAudio
from services.gateway.twilio import frames
from services.gateway.twilio.media_socket import MediaSocket, Message, SocketClosed

log = structlog.get_logger()

POLICY_VIOLATION = 1008
_DONE = 1000
_START_WITHIN_S = 5.0


class Refused(Exception):
    """The peer does not behave as Twilio does, or has no right to the call; close with 1008."""


@dataclass(frozen=True, slots=True)
class Start:
    """What the carrier says when a stream begins."""

    stream_sid: str
    call_id: str
    token: str


async def _first_messages(socket: MediaSocket) -> frames.StartBody:
    while True:
        message = frames.decode(await socket.receive())
        if message.start is not None:
            return message.start
        if message.event != "connected":
            raise Refused(f"{message.event[:40]!r} before start")


async def receive_start(socket: MediaSocket) -> Start:
    """Wait for `connected` and `start`. Raises Refused, also when they do not come within 5 s."""
    try:
        start = await asyncio.wait_for(_first_messages(socket), _START_WITHIN_S)
    except TimeoutError as error:
        raise Refused("no start") from error
    except frames.BadMessage as error:
        raise Refused(f"bad message before start: {error}") from error
    except SocketClosed as error:
        raise Refused("closed before start") from error
    parameters = start.custom_parameters
    if parameters.get("call_id") != start.call_sid:
        raise Refused("start names two calls")
    return Start(start.stream_sid, start.call_sid, parameters.get("token", ""))


class TwilioMedia:
    """Implements `services.gateway.media.Media`."""

    def __init__(self, socket: MediaSocket, start: Start) -> None:
        """`socket` has received its start message."""
        self._socket = socket
        self._stream_sid = start.stream_sid
        self._call_id = start.call_id
        self._on_audio: OnAudio
        self._events: asyncio.Queue[MediaEvent | None] = asyncio.Queue()

    async def events(self, on_audio: OnAudio) -> AsyncIterator[MediaEvent]:
        self._on_audio = on_audio
        self._socket.listen(self._receive, lambda: self._events.put_nowait(None))
        while (event := await self._events.get()) is not None:
            yield event
            if isinstance(event, HungUp):
                return
        log.debug("media_socket_closed", call_id=self._call_id, code=self._socket.code)

    def _receive(self, text: Message) -> None:
        try:
            message = frames.decode(text)
        except frames.BadMessage as error:
            log.warning("carrier_message_dropped", call_id=self._call_id, reason=str(error)[:200])
            return
        body = message.media
        if body is not None:
            if body.track == "inbound":
                self._on_audio(int(body.timestamp), body.payload)
        elif message.mark is not None:
            self._events.put_nowait(Mark(message.mark.name))
        elif message.dtmf is not None:
            self._events.put_nowait(Digit(message.dtmf.digit))
        elif message.event == "stop":
            self._events.put_nowait(HungUp())
        else:
            log.info("carrier_message_unknown", call_id=self._call_id, carrier_event=message.event[:40])

    async def play(self, mulaw: bytes, mark: str) -> None:
        await self._socket.send(frames.media(self._stream_sid, mulaw))
        await self._socket.send(frames.mark(self._stream_sid, mark))

    async def clear(self) -> None:
        await self._socket.send(frames.clear(self._stream_sid))

    async def close(self, reason: str) -> None:
        self._socket.close(_DONE, reason)
