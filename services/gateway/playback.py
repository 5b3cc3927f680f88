"""The playback clock: what of each reply the caller has heard. Pure; the carrier's marks and the time drive it.

It is the one source of truth for "is the agent speaking".
"""

from dataclasses import dataclass

from services.gateway.reply import Outgoing, Reply
from shared.messages import AudioOut, Playback, ReplyOnLine

_TELL_EVERY_MS = 500
"""Marks come with the first words one by one; while all goes well nobody has to know that exactly."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the line has to do, in this order."""

    clear: bool = False
    """Drop what the carrier holds."""
    play: tuple[Outgoing, ...] = ()
    """Send this audio, as long as the clock awaits its mark."""
    reports: tuple[Playback, ...] = ()
    """What to tell the other stages."""


class PlaybackClock:
    """Follows the newest reply; older ones are dropped. `now` is Unix time in seconds."""

    def __init__(self) -> None:
        """Nothing plays yet."""
        self._reply = Reply(generation=0)
        self._reply.complete = self._reply.finished = True
        self._audible_due = False
        """A reply has started, and it is not known yet when the caller heard it begin."""
        self._told_ms = 0
        """How much of the newest reply was heard when it was told last."""
        self._farewell: int | None = None
        self._over = False
        self._announced_until = 0.0
        """Until then the carrier plays an announcement, which is no part of any reply."""

    @property
    def speaking(self) -> bool:
        """Whether the carrier holds audio that the caller has not heard yet."""
        return self._reply.playing

    @property
    def over(self) -> bool:
        """Whether the call shall end now: it was ordered to, and the caller has heard the last reply."""
        return self._over or (self._farewell == self._reply.generation and self._reply.finished)

    @property
    def reply(self) -> ReplyOnLine:
        """The newest reply as it is now."""
        reply = self._reply
        if not reply.generation:
            return ReplyOnLine()
        return ReplyOnLine(
            generation=reply.generation,
            turn_id=reply.turn_id,
            started=reply.started,
            paused=reply.paused,
            complete=reply.complete,
            over=reply.finished,
            heard_ms=reply.heard_ms,
            heard=reply.heard,
            received=reply.received,
        )

    def awaits(self, mark: str) -> bool:
        """Whether the audio before `mark` shall still be heard."""
        return self._reply.awaits(mark)

    def announce(self, ms: int, now: float) -> bool:
        """Whether an announcement of `ms` may be sent now: not while the agent is heard, which would count it in."""
        if self.speaking:
            return False
        self._announced_until = now + ms / 1000
        return True

    def admit(self, audio: AudioOut, now: float) -> Step:
        """Audio arrived from tts; it is dropped when its reply is over."""
        if audio.generation < self._reply.generation:
            return Step()
        clear, reports = self._move_to(audio.generation, now)
        reply = self._reply
        if reply.complete:
            return Step()
        reply.keep(audio, now)
        play = () if reply.paused else reply.play(now, self._announced_until)
        return Step(clear, play, (*reports, *self._start(play), *self._finish()))

    def mark(self, name: str, now: float) -> Step:
        """The carrier says that all audio before the mark was played; it may be a mark that means nothing."""
        reply = self._reply
        if not reply.awaits(name):
            return Step()
        audible_at = reply.acknowledge(name, now)
        moments = {}
        if self._audible_due and audible_at is not None:
            self._audible_due = False
            moments["audible_at"] = audible_at
        if reports := self._finish(**moments):
            return Step(reports=reports)
        if not moments and reply.heard_ms - self._told_ms < _TELL_EVERY_MS:
            return Step()
        return Step(reports=(self._report("playing", **moments),))

    def pause(self, generation: int, now: float) -> Step:
        """Keep the rest of the reply `generation` back, also one of which nothing has come yet."""
        if generation < self._reply.generation:
            return Step()
        clear, reports = self._move_to(generation, now)
        reply = self._reply
        if reply.finished or reply.paused:
            return Step()
        if reply.playing:
            clear, self._announced_until = True, 0.0
        reply.silence(now)
        reply.paused = True
        self._audible_due = False
        return Step(clear, (), reports + (self._finish() or (self._report("paused"),)))

    def resume(self, generation: int, now: float) -> Step:
        """Let a paused reply go on, from the beginning of the word where it stopped."""
        reply = self._reply
        if generation != reply.generation or not reply.paused or reply.finished:
            return Step()
        reply.paused = False
        play = reply.play(now, self._announced_until)
        return Step(False, play, (self._report("resumed"), *self._start(play)))

    def clear(self, generation: int, now: float) -> Step:
        """Drop all replies older than `generation`."""
        clear, reports = self._move_to(generation, now)
        return Step(clear, reports=reports)

    def hang_up(self, generation: int) -> None:
        """The call is over when the reply `generation` was heard; at once when it is older than the newest."""
        self._farewell = generation
        self._over = generation < self._reply.generation

    def stop(self, now: float) -> Step:
        """The line is gone: what was not heard never will be."""
        return self.clear(self._reply.generation + 1, now)

    def _move_to(self, generation: int, now: float) -> tuple[bool, tuple[Playback, ...]]:
        """Follow `generation`: whether the carrier must be cleared for it, and what to report."""
        reply = self._reply
        if generation <= reply.generation:
            return False, ()
        clear = reply.playing
        if clear:
            self._announced_until = 0.0
        reports: tuple[Playback, ...] = ()
        if (reply.started or reply.paused) and not reply.finished:
            reply.silence(now)
            reports = (self._report("cleared"),)
        self._reply = Reply(generation)
        self._audible_due = False
        if self._farewell is not None and self._farewell < generation:
            # The caller has interrupted the goodbye.
            self._farewell = None
        return clear, reports

    def _start(self, play: tuple[Outgoing, ...]) -> tuple[Playback, ...]:
        if self._reply.started or not play:
            return ()
        self._reply.started = self._audible_due = True
        return (self._report("started", **self._reply.moments),)

    def _finish(self, **moments: float) -> tuple[Playback, ...]:
        reply = self._reply
        if not reply.over:
            return ()
        reply.finished = True
        return (self._report("finished", **moments),)

    def _report(self, state: str, **moments: float) -> Playback:
        reply = self._reply
        self._told_ms = reply.heard_ms
        values = {"generation": reply.generation, "turn_id": reply.turn_id, "state": state}
        return Playback.model_validate({**values, "heard_ms": reply.heard_ms, "heard": reply.heard, **moments})
