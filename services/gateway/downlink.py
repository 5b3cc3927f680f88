"""The agent's side of a line: audio on its way to the caller, and what of it was heard."""

import asyncio
import time
from collections.abc import Callable

import structlog
from prometheus_client import Counter

from services.gateway.media import Media
from services.gateway.playback import PlaybackClock, Step
from shared.audio import duration_ms
from shared.bus import BusError
from shared.channel import CallChannel
from shared.messages import AudioOut, Control, Message, Playback, ReplyOnLine
from shared.metrics import AUDIO_FRAMES

log = structlog.get_logger()

_ANNOUNCEMENT_MARK = "announcement"
_PLAYBACKS = Counter("trunkline_playbacks_total", "What became of the agent's replies at the line", ["state"])
_frames_out = AUDIO_FRAMES.labels("out")


class Downlink:
    """Does what the playback clock decides, and tells the stages."""

    def __init__(
        self,
        media: Media,
        channel: CallChannel,
        voice_stage: str,
        over: Callable[[], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        """`voice_stage` is the stage that speaks (tts or speech); `over` is called when the call shall end."""
        self.shut = False
        """The line closes: nothing that the stages send is played any more."""
        self._media = media
        self._channel = channel
        self._voice_stage = voice_stage
        self._over = over
        self._now = now
        self._clock = PlaybackClock()
        self._in_order = asyncio.Lock()
        self._silent = asyncio.Event()
        self._silent.set()

    async def silence(self) -> None:
        """Return when the caller hears nothing of the agent."""
        await self._silent.wait()

    @property
    def speaks(self) -> bool:
        """Whether the caller hears something of the agent."""
        return not self._silent.is_set()

    @property
    def reply(self) -> ReplyOnLine:
        """The newest reply as it is now."""
        return self._clock.reply

    async def open(self) -> None:
        """Follow the voice and the dialogue."""
        await self._channel.on_audio_out_in_turn(self._voice_stage, self._on_audio)
        await self._channel.on(self._on_control, Control)

    async def mark(self, name: str) -> None:
        """The carrier has played all audio before the mark."""
        # Not in order with what is sent: the caller's audio must not wait for a slow socket.
        await self._report(self._clock.mark(name, self._now()))
        self._settle()

    async def stop(self) -> Step:
        """The caller hears no more of the reply: cleared at the carrier, not told yet."""
        self.shut = True
        cut_short = self._clock.stop(self._now())
        await self._media.clear()
        return cut_short

    async def finish(self, cut_short: Step | None = None) -> None:
        """Tell how much of the reply was heard at last."""
        self.shut = True
        await self._report(cut_short or self._clock.stop(self._now()))

    def announces(self, mulaw: bytes) -> bool:
        """Whether `mulaw`, which is no reply, may be played now; the clock counts on it then."""
        return not self.shut and self._clock.announce(duration_ms(mulaw), self._now())

    async def play(self, mulaw: bytes) -> None:
        """Play what `announces` has allowed."""
        async with self._in_order:
            await self._media.play(mulaw, _ANNOUNCEMENT_MARK)

    async def _on_audio(self, piece: AudioOut) -> None:
        now = self._now()
        if not self.shut:
            await self._follow(self._clock.admit(piece, now))

    async def _on_control(self, message: Message) -> None:
        now = self._now()
        if not isinstance(message, Control) or self.shut:
            return
        if message.action == "pause":
            await self._follow(self._clock.pause(message.generation, now))
        elif message.action == "resume":
            await self._follow(self._clock.resume(message.generation, now))
        elif message.action == "clear":
            await self._follow(self._clock.clear(message.generation, now))
        else:
            self._clock.hang_up(message.generation)
            self._settle()

    async def _follow(self, step: Step) -> None:
        """Do what the clock decided; audio that it has given up while another step was under way is not sent."""
        async with self._in_order:
            if step.clear:
                await self._media.clear()
            for audio in step.play:
                if self._clock.awaits(audio.mark):
                    _frames_out.count += 1
                    await self._media.play(audio.payload, audio.mark)
            await self._report(step)
        self._settle()

    async def _report(self, step: Step) -> None:
        for report in step.reports:
            if report.state != "playing":
                self._note(report)
            try:
                await self._channel.send(report)
            except BusError as error:
                # The broker has been away for long: the call goes on when it is back.
                log.warning("report_not_sent", call_id=self._channel.call_id, state=report.state, error=str(error))

    def _note(self, report: Playback) -> None:
        _PLAYBACKS.labels(report.state).inc()
        log.debug(
            "playback_changed",
            call_id=self._channel.call_id,
            state=report.state,
            turn_id=report.turn_id,
            generation=report.generation,
            heard_ms=report.heard_ms,
        )

    def _settle(self) -> None:
        if self._clock.speaking:
            self._silent.clear()
        else:
            self._silent.set()
        if self._clock.over:
            self._over()
