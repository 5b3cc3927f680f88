"""The line: one open media socket of a call, and the playback of what the agent says on it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Literal

import structlog
from prometheus_client import Counter

from services.gateway.media import Audio, Digit, HungUp, Mark, Media
from services.gateway.playback import PlaybackClock, Step
from shared import messages
from shared.audio import duration_ms
from shared.bus import BusError
from shared.channel import CallChannel
from shared.messages import AudioOut, CallStarted, Control, ErrorHappened, LeaseChanged, Message, Playback
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

_PLAYBACKS = Counter("trunkline_playbacks_total", "What became of the agent's replies at the line", ["state"])
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
        now: Callable[[], float] = time.time,
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
        self._now = now
        self._clock = PlaybackClock()
        self._in_order = asyncio.Lock()
        self._end: End | None = None
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
                    await self._tell(messages.Digit(digit=event.digit))
                elif isinstance(event, HungUp):
                    self._end = self._end or "caller_hung_up"
                    break
            await self._report(self._clock.stop(self._now()))
        finally:
            await self._channel.close()
            self._apologised.set()
            await asyncio.gather(*self._tasks)
        return self._end or "carrier_lost"

    async def _on_mark(self, name: str) -> None:
        now = self._now()
        if name == _APOLOGY_MARK:
            self._apologised.set()
        # Not in order with what is sent: the caller's audio must not wait for a slow socket.
        await self._report(self._clock.mark(name, now))
        self._hang_up_when_heard()

    async def _on_audio(self, piece: AudioOut) -> None:
        now = self._now()
        if self._end is None:
            await self._follow(self._clock.admit(piece, now))

    async def _on_control(self, message: Message) -> None:
        now = self._now()
        if not isinstance(message, Control) or self._end is not None:
            return
        if message.action == "pause":
            await self._follow(self._clock.pause(message.generation, now))
        elif message.action == "resume":
            await self._follow(self._clock.resume(message.generation, now))
        elif message.action == "clear":
            await self._follow(self._clock.clear(message.generation, now))
        else:
            self._clock.hang_up(message.generation)
            self._hang_up_when_heard()

    async def _follow(self, step: Step) -> None:
        """Do what the clock decided; audio that it has given up while another step was under way is not sent."""
        async with self._in_order:
            if step.clear:
                await self._media.clear()
            for audio in step.play:
                if self._clock.awaits(audio.mark):
                    _frames_out.inc()
                    await self._media.play(audio.payload, audio.mark)
            await self._report(step)
        self._hang_up_when_heard()

    async def _report(self, step: Step) -> None:
        for report in step.reports:
            if report.state != "playing":
                self._note(report)
            await self._tell(report)

    def _note(self, report: Playback) -> None:
        _PLAYBACKS.labels(report.state).inc()
        log.debug(
            "playback_changed",
            call_id=self.call_id,
            state=report.state,
            turn_id=report.turn_id,
            generation=report.generation,
            heard_ms=report.heard_ms,
        )

    async def _tell(self, message: Message) -> None:
        try:
            await self._channel.send(message)
        except BusError as error:
            # The broker has been away for long: the call goes on when it is back.
            log.warning("report_not_sent", call_id=self.call_id, suffix=message.suffix, error=str(error))

    def _hang_up_when_heard(self) -> None:
        if self._clock.over:
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
        cut_short = self._clock.stop(self._now())
        await self._media.clear()
        await self._media.play(self._apology, _APOLOGY_MARK)
        await self._report(cut_short)
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
        # The stages hear of the end of the reply before they hear of the end of the call.
        await self._report(self._clock.stop(self._now()))
        await self._settle(end)
        await self._media.close(end)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        # Not awaited in place: closing makes `run` end, and with it the caller of this method.
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
