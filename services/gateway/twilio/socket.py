"""A Twilio media socket behind the carrier's seam."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from services.gateway.media import Audio, Digit, HungUp, Mark, MediaEvent
from services.gateway.twilio import frames

log = structlog.get_logger()

POLICY_VIOLATION = 1008
_START_WITHIN_S = 5.0
_CLOSED = (WebSocketDisconnect, RuntimeError)
"""What Starlette raises when it sends on a socket that is gone."""


class Refused(Exception):
    """The peer does not behave as Twilio does, or has no right to the call; close with 1008."""


@dataclass(frozen=True, slots=True)
class Start:
    """What the carrier says when a stream begins."""

    stream_sid: str
    call_id: str
    token: str


async def _first_messages(websocket: WebSocket) -> frames.StartBody:
    while True:
        message = frames.decode(await websocket.receive_text())
        if message.start is not None:
            return message.start
        if message.event != "connected":
            raise Refused(f"{message.event} before start")


async def receive_start(websocket: WebSocket) -> Start:
    """Wait for `connected` and `start`. Raises Refused, also when they do not come within 5 s."""
    try:
        start = await asyncio.wait_for(_first_messages(websocket), _START_WITHIN_S)
    except TimeoutError as error:
        raise Refused("no start") from error
    except (frames.BadMessage, KeyError) as error:
        raise Refused(f"bad message before start: {error}") from error
    except WebSocketDisconnect as error:
        raise Refused("closed before start") from error
    parameters = start.custom_parameters
    if parameters.get("call_id") != start.call_sid:
        raise Refused("start names two calls")
    return Start(start.stream_sid, start.call_sid, parameters.get("token", ""))


class TwilioMedia:
    """Implements `services.gateway.media.Media`."""

    def __init__(self, websocket: WebSocket, start: Start) -> None:
        """`websocket` has been accepted and has received its start message."""
        self._websocket = websocket
        self._stream_sid = start.stream_sid
        self._call_id = start.call_id

    async def events(self) -> AsyncIterator[MediaEvent]:
        receive = self._websocket.receive
        while True:
            packet = await receive()
            if packet["type"] == "websocket.disconnect":
                log.debug("media_socket_closed", call_id=self._call_id, code=packet.get("code"))
                return
            try:
                message = frames.decode(packet.get("text") or packet.get("bytes") or b"")
            except frames.BadMessage as error:
                log.warning("carrier_message_dropped", call_id=self._call_id, reason=str(error)[:200])
                continue
            if message.media is not None:
                if message.media.track == "inbound":
                    yield Audio(int(message.media.timestamp), message.media.payload)
            elif message.mark is not None:
                yield Mark(message.mark.name)
            elif message.dtmf is not None:
                yield Digit(message.dtmf.digit)
            elif message.event == "stop":
                yield HungUp()
                return
            else:
                log.info("carrier_message_unknown", call_id=self._call_id, carrier_event=message.event[:40])

    async def play(self, mulaw: bytes, mark: str) -> None:
        await self._send(frames.media(self._stream_sid, mulaw))
        await self._send(frames.mark(self._stream_sid, mark))

    async def clear(self) -> None:
        await self._send(frames.clear(self._stream_sid))

    async def _send(self, text: str) -> None:
        try:
            await self._websocket.send_text(text)
        except _CLOSED:
            # The reader sees the same end and reports it.
            log.debug("media_socket_gone", call_id=self._call_id)

    async def close(self, reason: str) -> None:
        if self._websocket.application_state is WebSocketState.DISCONNECTED:
            return
        try:
            await self._websocket.close(1000, reason)
        except _CLOSED:
            log.debug("media_socket_gone", call_id=self._call_id)
