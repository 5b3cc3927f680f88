"""The playback clock: what of each reply the caller has heard. Pure; the carrier's marks drive it.

It is the one source of truth for "is the agent speaking".
"""

from dataclasses import dataclass, field

from shared.audio import duration_ms
from shared.messages import AudioOut, Playback


@dataclass(slots=True)
class _Reply:
    """One reply on its way to the caller's ear."""

    generation: int
    sent_ms: int = 0
    heard_ms: int = 0
    complete: bool = False
    finished: bool = False
    texts: list[tuple[int, str]] = field(default_factory=list)
    """The words of each piece, with the position in ms at which they are over."""

    @property
    def heard(self) -> str:
        return "".join(text for end_ms, text in self.texts if end_ms <= self.heard_ms)


@dataclass(frozen=True, slots=True)
class Admitted:
    """What to do with a piece of audio."""

    mark: str
    """The name of the mark to send behind it."""
    clear: bool
    """An older reply is still playing: clear it first."""
    reports: tuple[Playback, ...]
    """What to tell the dialogue."""


class PlaybackClock:
    """Follows the newest reply; older ones are dropped."""

    def __init__(self) -> None:
        """Nothing plays yet."""
        self._reply = _Reply(generation=0, complete=True, finished=True)

    @property
    def speaking(self) -> bool:
        """Whether the carrier holds audio that the caller has not heard yet."""
        return self._reply.heard_ms < self._reply.sent_ms and not self._reply.finished

    def finished(self, generation: int) -> bool:
        """Whether nothing of `generation` is left to be heard."""
        return self._reply.generation > generation or (self._reply.generation == generation and self._reply.finished)

    def admit(self, piece: AudioOut) -> Admitted | None:
        """A piece arrived from tts; None when it belongs to a reply that is over."""
        if piece.generation < self._reply.generation:
            return None
        reports: list[Playback] = []
        clear = False
        if piece.generation > self._reply.generation:
            clear = self.speaking
            reports += self._abandon(piece.generation)
        reply = self._reply
        if reply.finished:
            return None
        if reply.sent_ms == 0 and piece.payload:
            reports.append(self._report("started", synthesized_at=piece.at))
        reply.sent_ms += duration_ms(piece.payload)
        reply.texts.append((reply.sent_ms, piece.text))
        reply.complete = reply.complete or piece.last
        reports += self._finish()
        return Admitted(f"{reply.generation}:{reply.sent_ms}", clear, tuple(reports))

    def mark(self, name: str) -> tuple[Playback, ...]:
        """The carrier says that all audio before the mark was played."""
        generation, _, position = name.partition(":")
        reply = self._reply
        if not (generation.isdecimal() and position.isdecimal()) or int(generation) != reply.generation:
            return ()
        if reply.finished or int(position) > reply.sent_ms:
            return ()
        reply.heard_ms = max(reply.heard_ms, int(position))
        return tuple(self._finish()) or (self._report("playing"),)

    def clear(self, generation: int) -> tuple[bool, tuple[Playback, ...]]:
        """Drop all replies older than `generation`: whether the carrier must clear, and what to report."""
        if generation <= self._reply.generation:
            return False, ()
        speaking = self.speaking
        return speaking, tuple(self._abandon(generation))

    def hang_up(self) -> tuple[Playback, ...]:
        """The caller is gone: what was not heard never will be."""
        return tuple(self._abandon(self._reply.generation + 1))

    def _abandon(self, generation: int) -> list[Playback]:
        begun = self._reply.sent_ms > 0 and not self._reply.finished
        reports = [self._report("cleared")] if begun else []
        self._reply = _Reply(generation)
        return reports

    def _finish(self) -> list[Playback]:
        reply = self._reply
        if reply.finished or not reply.complete or reply.heard_ms < reply.sent_ms:
            return []
        reply.finished = True
        return [self._report("finished")]

    def _report(self, state: str, synthesized_at: float = 0.0) -> Playback:
        reply = self._reply
        return Playback.model_validate(
            {
                "generation": reply.generation,
                "state": state,
                "heard_ms": reply.heard_ms,
                "heard": reply.heard,
                "synthesized_at": synthesized_at,
            }
        )
