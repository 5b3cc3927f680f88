"""The line: one open media socket of a call, and the playback of what the agent says on it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Literal

import structlog

from services.gateway.media import Audio, Digit, HungUp, Mark, Media
from services.gateway.playback import PlaybackClock
from shared import messages
from shared.audio import duration_ms
from shared.bus import BusError
from shared.channel import CallChannel
from shared.messages import AudioOut, CallStarted, Control, ErrorHappened, LeaseChanged, Message
from shared.metrics import AUDIO_FRAMES

log = structlog.get_logger()

End = Literal[
    "caller_hung_up",
    "agent_hung_up",
    "stage_lost",
    "stage_failed",
    "carrier_lost",
    "max_duration",
    "taken_over",
    "drained",
]
"""Why a line closed."""

_APOLOGY_MARK = "apology"
_GRACE_S = 3.0

_frames_in = AUDIO_FRAMES.labels("in")
_frames_out = AUDIO_FRAMES.labels("out")


class Line:
    """Carries audio between the carrier and the call's subjects until one side ends it."""

    def __init__(
        self,
        media: Media,
        channel: CallChannel,
        voice_stage: str,
        apology: bytes,
        settle: Callable[[End], Awaitable[None]],
    ) -> None:
        """`voice_stage` is the stage that speaks (tts or speech); `apology` is μ-law for when a stage fails.

        `settle` is awaited before the line closes by itself: the carrier asks what to do next as soon as it has.
        """
        self.call_id = channel.call_id
        self._media = media
        self._channel = channel
        self._voice_stage = voice_stage
        self._apology = apology
        self._settle = settle
        self._apologised = asyncio.Event()
        self._clock = PlaybackClock()
        self._end: End | None = None
        self._hangup_after: int | None = None
        self._seq = 0
        self._tasks: set[asyncio.Task[None]] = set()
        channel.on_failure = lambda error: self.fail("stage_failed")

    async def open(self, started: CallStarted) -> None:
        """Subscribe, then tell the stages that the line is open."""
        await self._channel.on_audio_out(self._voice_stage, self._on_audio)
        await self._channel.on(self._on_control, Control)
        await self._channel.on(self._on_event, ErrorHappened, CallStarted, LeaseChanged)
        await self._channel.flush()
        await self._channel.send(started)

    async def run(self) -> End:
        """Carry the call until the line closes; returns why."""
        try:
            async for event in self._media.events():
                if isinstance(event, Audio):
                    _frames_in.inc()
                    await self._channel.send_audio_in(self._seq, event.timestamp_ms, event.payload)
                    self._seq += 1
                elif isinstance(event, Mark):
                    await self._on_mark(event.name)
                elif isinstance(event, Digit):
                    await self._tell((messages.Digit(digit=event.digit),))
                elif isinstance(event, HungUp):
                    self._end = self._end or "caller_hung_up"
                    await self._tell(self._clock.hang_up())
                    break
        finally:
            await self._channel.close()
            self._apologised.set()
            await asyncio.gather(*self._tasks)
        return self._end or "carrier_lost"

    async def _on_mark(self, name: str) -> None:
        if name == _APOLOGY_MARK:
            self._apologised.set()
        await self._tell(self._clock.mark(name))
        await self._hang_up_when_heard()

    async def _tell(self, reports: Sequence[Message]) -> None:
        for report in reports:
            try:
                await self._channel.send(report)
            except BusError as error:
                # The broker has been away for long: the call goes on when it is back.
                log.warning("report_not_sent", call_id=self.call_id, suffix=report.suffix, error=str(error))

    async def _on_audio(self, piece: AudioOut) -> None:
        if self._end is not None:
            return
        admitted = self._clock.admit(piece)
        if admitted is None:
            return
        if admitted.clear:
            await self._media.clear()
        if piece.payload:
            _frames_out.inc()
            await self._media.play(piece.payload, admitted.mark)
        await self._tell(admitted.reports)
        await self._hang_up_when_heard()

    async def _on_control(self, message: Message) -> None:
        if not isinstance(message, Control) or self._end is not None:
            return
        if message.action == "clear":
            clear, reports = self._clock.clear(message.generation)
            if clear:
                await self._media.clear()
            await self._tell(reports)
        else:
            self._hangup_after = message.generation
            await self._hang_up_when_heard()

    async def _hang_up_when_heard(self) -> None:
        if self._hangup_after is not None and self._clock.finished(self._hangup_after):
            self.close("agent_hung_up")

    async def _on_event(self, message: Message) -> None:
        if isinstance(message, ErrorHappened) and message.fatal:
            self.fail("stage_failed")
        elif isinstance(message, CallStarted) and message.epoch > self._channel.epoch:
            self.close("taken_over")

    def fail(self, end: End) -> None:
        """A stage is gone: the caller hears a sentence, then the call ends."""
        if self._end is None:
            self._end = end
            self._spawn(self._apologise(end))

    async def _apologise(self, end: End) -> None:
        await self._media.clear()
        await self._media.play(self._apology, _APOLOGY_MARK)
        try:
            await asyncio.wait_for(self._apologised.wait(), duration_ms(self._apology) / 1000 + _GRACE_S)
        except TimeoutError:
            log.warning("apology_not_heard", call_id=self.call_id)
        await self._close(end)

    def close(self, end: End) -> None:
        """Close the line now. The first reason given counts."""
        if self._end is None:
            self._end = end
            self._spawn(self._close(end))

    async def _close(self, end: End) -> None:
        await self._settle(end)
        await self._media.close(end)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        # Not awaited in place: closing makes `run` end, and with it the caller of this method.
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
