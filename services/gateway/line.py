"""The line: one open media socket of a call, from its first frame to its end."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Literal

import structlog

from services.gateway.downlink import Downlink
from services.gateway.media import Digit, HungUp, Mark, Media
from services.gateway.uplink import Uplink
from shared.audio import duration_ms
from shared.bus import BusError
from shared.channel import CallChannel
from shared.messages import CallStarted, ErrorHappened, LeaseChanged, Message, StageTaken, TurnsChanged

log = structlog.get_logger()

CallEnd = Literal[
    "caller_hung_up",
    "agent_hung_up",
    "stage_lost",
    "stage_failed",
    "carrier_lost",
    "max_duration",
    "drained",
]
"""Why a line closed, and its call ends unless the carrier comes back."""
End = Literal[CallEnd, "taken_over"]
"""Why a line closed."""

_APOLOGY_MARK = "apology"
_GRACE_S = 3.0
_QUIET_S = 1.0
"""Between the caller's words and a moment in which nothing happens."""
_MOMENTS_APART_S = 15.0


@dataclass(frozen=True, slots=True)
class Sounds:
    """What the gateway itself says, as 8 kHz μ-law."""

    apology: bytes
    """When the call cannot go on."""
    moment: bytes = b""
    """When the agent keeps the caller waiting."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom a line tells what it does not decide."""

    settle: Callable[[End], Awaitable[None]]
    """Awaited before the line closes by itself: the carrier asks what to do next as soon as it has."""
    stage_failed: Callable[[ErrorHappened], None]
    """A stage cannot go on with the call."""
    turns_changed: Callable[[TurnsChanged], Awaitable[None]]
    """The call takes turns in another way from now on."""


class Line:
    """Carries audio between the carrier and the call's subjects until one side ends it."""

    def __init__(
        self,
        media: Media,
        channel: CallChannel,
        voice_stage: str,
        sounds: Sounds,
        owner: Owner,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`voice_stage` is the stage that speaks (tts or speech)."""
        self.call_id = channel.call_id
        self.number = channel.epoch
        self._downlink = Downlink(media, channel, voice_stage, lambda: self.close("agent_hung_up"), now)
        self.uplink = Uplink(channel, lambda: self._downlink.speaks, now)
        self._media = media
        self._channel = channel
        self._sounds = sounds
        self._owner = owner
        self._apologised = asyncio.Event()
        self._now = now
        self._moment_at = 0.0
        self._end: End | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        channel.on_failure = lambda error: self.fail("stage_failed")

    @property
    def closing(self) -> bool:
        """Whether the line has closed, or is about to."""
        return self._end is not None

    async def open(self, started: CallStarted) -> None:
        """Subscribe, then tell the stages that the line is open."""
        await self._downlink.open()
        await self.uplink.open()
        await self._channel.on(self._on_event, ErrorHappened, CallStarted, LeaseChanged)
        await self._channel.on(self._on_turns, TurnsChanged)
        await self._channel.flush()
        self._channel.tell(started)

    async def run(self) -> End:
        """Carry the call until the line closes; returns why."""
        try:
            async for event in self._media.events(self.uplink.carry):
                if isinstance(event, Mark):
                    if event.name == _APOLOGY_MARK:
                        self._apologised.set()
                    await self._downlink.mark(event.name)
                elif isinstance(event, Digit):
                    await self._press(event.digit)
                elif isinstance(event, HungUp):
                    self._end = self._end or "caller_hung_up"
                    break
            await self._downlink.finish()
        finally:
            self._end = self._end or "carrier_lost"
            await self.uplink.close()
            await self._channel.close()
            self._apologised.set()
            await asyncio.gather(*self._tasks)
        return self._end

    async def _press(self, digit: str) -> None:
        try:
            await self.uplink.press(digit)
        except BusError as error:
            log.warning("key_not_sent", call_id=self.call_id, error=str(error))

    def quiet(self, stage: str) -> bool:
        """Whether another worker can take `stage` up now without anybody noticing."""
        reply = self._downlink.reply
        if stage == "stt":
            return not self.uplink.speaking
        if stage == "llm":
            under_way = reply.generation > 0 and not reply.over
            spoken = self._now() - self.uplink.last_words_at < _QUIET_S
            return not (self.uplink.speaking or under_way or spoken)
        if stage == "tts":
            return reply.complete or not reply.started
        return True

    def silence(self, stage: str, epoch: int) -> None:
        """From now on what `stage` says with a lease older than `epoch` is dropped."""
        self._channel.supersede(stage, epoch)

    async def tell_taken(self, stage: str, worker: str, epoch: int, since: float) -> None:
        """The stages hear who has `stage` now. Raises BusError."""
        reply = self._downlink.reply
        await self._channel.send(StageTaken(leased=stage, worker=worker, lease_epoch=epoch, since=since, reply=reply))

    async def ask_for_patience(self) -> None:
        """Tell the caller, as soon as the agent is silent, that it goes on in a moment; once in a while."""
        await self._downlink.silence()
        now = self._now()
        if self._moment_at and now - self._moment_at < _MOMENTS_APART_S:
            return
        if self._sounds.moment and self._downlink.announces(self._sounds.moment):
            self._moment_at = now
            await self._downlink.play(self._sounds.moment)

    async def _on_event(self, message: Message) -> None:
        if isinstance(message, ErrorHappened) and message.fatal:
            self._owner.stage_failed(message)
        elif isinstance(message, CallStarted) and message.epoch > self._channel.epoch:
            self.close("taken_over")

    async def _on_turns(self, message: Message) -> None:
        if isinstance(message, TurnsChanged):
            await self._owner.turns_changed(message)

    def fail(self, end: End) -> None:
        """A stage is gone: the caller hears a sentence, then the call ends."""
        if self._end is None:
            self._end = end
            self._downlink.shut = True
            self._spawn(self._apologise(end))

    async def _apologise(self, end: End) -> None:
        cut_short = await self._downlink.stop()
        await self._media.play(self._sounds.apology, _APOLOGY_MARK)
        await self._downlink.finish(cut_short)
        try:
            await asyncio.wait_for(self._apologised.wait(), duration_ms(self._sounds.apology) / 1000 + _GRACE_S)
        except TimeoutError:
            log.warning("apology_not_heard", call_id=self.call_id)
        await self._close(end)

    def close(self, end: End) -> None:
        """Close the line now. The first reason given counts."""
        if self._end is None:
            self._end = end
            self._downlink.shut = True
            self._spawn(self._close(end))

    async def _close(self, end: End) -> None:
        # The stages hear of the end of the reply before they hear of the end of the call.
        await self._downlink.finish()
        await self._owner.settle(end)
        await self._media.close(end)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        # Not awaited in place: closing makes `run` end, and with it the caller of this method.
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
