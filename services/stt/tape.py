"""What the caller said and no final transcript covers yet, kept for another recogniser. Pure."""

from collections import deque
from dataclasses import dataclass
from typing import Literal

from services.stt.provider import Hypothesis
from shared.audio import bytes_of

LONGEST_MS = 30_000
_BETWEEN_MS = 1000
"""Between utterances: the VAD tells late of a beginning, and may miss a quiet one."""


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """Audio that begins at a position in all that was fed (bytes)."""

    at: int
    mulaw: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """An utterance began, or ended, at a position in all that was fed (bytes)."""

    kind: Literal["begin", "finish"]
    at: int


Item = Sound | Mark


class Tape:
    """The newest audio without a gap, and the marks of the utterances that are not complete."""

    def __init__(self) -> None:
        """Nothing was fed."""
        self.fed = 0
        """How much was, in bytes."""
        self._sounds: deque[Sound] = deque()
        self._marks: list[Mark] = []
        self.unsettled = False
        """There is text that is not final."""

    def add(self, mulaw: bytes) -> Sound:
        """The next audio."""
        sound = Sound(self.fed, mulaw)
        self.fed += len(mulaw)
        self._sounds.append(sound)
        keep_ms = LONGEST_MS if self._marks or self.unsettled else _BETWEEN_MS
        self._cut(self.fed - bytes_of(keep_ms))
        return sound

    def mark(self, kind: Literal["begin", "finish"]) -> Mark:
        """An utterance begins, or has ended, here."""
        self._marks.append(Mark(kind, self.fed))
        return self._marks[-1]

    @property
    def owed(self) -> bool:
        """Whether an utterance has ended whose last text has not come."""
        return any(mark.kind == "finish" for mark in self._marks)

    def items(self) -> list[Item]:
        """All that another recogniser must hear, in order."""
        return sorted([*self._marks, *self._sounds], key=lambda item: (item.at, isinstance(item, Sound)))

    def hear(self, hypothesis: Hypothesis) -> None:
        """Its times count in all that was fed. What is final is not kept."""
        self.unsettled = not hypothesis.final and bool(hypothesis.text)
        if not hypothesis.final:
            return
        until = self.fed
        if hypothesis.words:
            until = bytes_of(hypothesis.words[-1].end_ms)
        elif hypothesis.silent_from_ms is not None:
            until = bytes_of(hypothesis.silent_from_ms)
        elif not hypothesis.text:
            until = 0
        if hypothesis.silent_from_ms is not None or hypothesis.turn_over:
            until = self._over(until, finishes=hypothesis.turn_over)
        elif hypothesis.complete:
            until = max(until, self._answer())
        self._cut(until)

    def _answer(self) -> int:
        """The oldest `finish` has its answer; returns its position, 0 when there is none."""
        for index, mark in enumerate(self._marks):
            if mark.kind == "finish":
                del self._marks[: index + 1]
                return mark.at
        return 0

    def _over(self, until: int, *, finishes: bool) -> int:
        """The provider noticed the end of what was said before `until`; returns up to where it is done.

        `finishes`: that answers a `finish` of the same speech.
        """
        begins = [mark for mark in self._marks if mark.kind == "begin" and mark.at > until]
        oldest = next((mark for mark in self._marks if mark.kind == "finish"), None)
        if finishes and oldest is not None and not (begins and begins[0].at < oldest.at):
            return max(until, self._answer())
        self._marks = [mark for mark in self._marks if mark.kind == "finish" or mark.at > until]
        return until

    def _cut(self, until: int) -> None:
        """Keep no audio from before a position."""
        while self._sounds and self._sounds[0].at + len(self._sounds[0].mulaw) <= until:
            self._sounds.popleft()
