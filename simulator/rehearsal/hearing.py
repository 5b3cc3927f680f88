"""What the carrier really played of a reply: its audio as tts published it, found again in the agent track. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from shared.audio import RATE
from shared.loudness import last_audible
from shared.messages import AudioOut
from shared.phrases import normalize

_PROBE = RATE * 40 // 1000
"""So much speech, byte for byte the same, is not found in another place of a reply by chance."""
_STEP = RATE * 10 // 1000
_IN_FLIGHT_MS = 60
"""The platform cannot know that a word was over if its mark was still on the way when the carrier was cleared."""
LOST_MS = 40.0
"""More audible speech than this that was never played is a lost sound."""


def _bytes(audio: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(audio, dtype=np.uint8)


def _loud(audio: bytes, at: int) -> bool:
    return last_audible(audio[at : at + _STEP]) is not None


@dataclass(frozen=True)
class Rendered:
    """One reply as it was synthesised."""

    audio: bytes
    """8 kHz μ-law."""
    ends: tuple[tuple[int, str], ...]
    """Where words end (in bytes), and the reply's text up to there."""
    whole: bool
    """Its last piece came."""

    @classmethod
    def of(cls, pieces: Iterable[AudioOut]) -> "Rendered":
        """The reply that these pieces make, in order."""
        audio, text, ends, whole = bytearray(), "", [], False
        for piece in pieces:
            for end, words in piece.words:
                text += words
                ends.append((len(audio) + end, text))
            audio += piece.payload
            whole = whole or piece.last
        return cls(bytes(audio), tuple(ends), whole)

    @property
    def words(self) -> list[str]:
        """All its words, without punctuation."""
        return normalize(self.ends[-1][1]).split() if self.ends else []

    @cached_property
    def last_sound(self) -> int:
        """Where its last sample that can be heard lies; -1: it is silent."""
        last = last_audible(self.audio)
        return -1 if last is None else last

    def words_until(self, position: int) -> float:
        """How many words the first `position` bytes say; those that end together count by their length."""
        began, before = 0, 0
        for end, text in self.ends:
            count = len(normalize(text).split())
            if end > position:
                return before + (count - before) * max(0, position - began) / max(1, end - began)
            began, before = end, count
        return float(before)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a reply that was played without a break; `start` and `end` in the reply, in bytes."""

    track: int
    """Where in the track it began."""
    start: int
    end: int


def find(track: bytes, reply: bytes) -> list[Stretch]:
    """The stretches of `reply` in `track`, in the order in which they were played."""
    found: list[Stretch] = []
    played, rendered = _bytes(track), _bytes(reply)
    at = 0
    while at < len(track):
        if not _loud(track, at):
            at += _STEP
            continue
        place = reply.find(track[at : at + _PROBE])
        if place < 0:
            at += _STEP
            continue
        # A step may begin before the reply does.
        back = _same(played[max(0, at - _STEP) : at][::-1], rendered[:place][::-1])
        length = min(len(track) - at, len(reply) - place)
        forth = _same(played[at : at + length], rendered[place : place + length])
        found.append(Stretch(at - back, place - back, place + forth))
        at += forth
    return found


def _same(some: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> int:
    """The length of the common beginning."""
    length = min(len(some), len(other))
    different = np.flatnonzero(some[:length] != other[:length])
    return int(different[0]) if len(different) else length


@dataclass(frozen=True)
class Hearing:
    """What the ear knows of one reply. Times in seconds of the phone's clock."""

    rendered: Rendered
    stretches: Sequence[Stretch]
    track_began: float
    """The time of the track's first sample."""

    @classmethod
    def of(cls, rendered: Rendered, track: bytes, began: float) -> "Hearing":
        """`track` (8 kHz μ-law) was played from `began` on."""
        return cls(rendered, find(track, rendered.audio), began)

    def _time(self, position: int) -> float:
        return self.track_began + position / RATE

    @property
    def began(self) -> float | None:
        """When its first sample that can be heard was played; None: nothing of it was."""
        for stretch in self.stretches:
            audio = self.rendered.audio[stretch.start : stretch.end]
            loud = [at for at in range(0, len(audio), _STEP) if _loud(audio, at)]
            if loud:
                return self._time(stretch.track + loud[0])
        return None

    @property
    def ended(self) -> float | None:
        """When the last sample of it that was played was over."""
        last = self.stretches[-1] if self.stretches else None
        return None if last is None else self._time(last.track + last.end - last.start)

    def resumed(self, after: float) -> float | None:
        """When it was audible again at or after the time `after`."""
        for stretch in self.stretches:
            if self._time(stretch.track) >= after - 0.001:
                return self._time(stretch.track)
        return None

    @property
    def position(self) -> int:
        """Up to where in the reply it was played."""
        return self.stretches[-1].end if self.stretches else 0

    @property
    def words(self) -> float:
        """How many of its words were heard."""
        return self.rendered.words_until(self.position)

    @property
    def surely(self) -> float:
        """How many of them the platform can have learnt of."""
        return self.rendered.words_until(max(0, self.position - RATE * _IN_FLIGHT_MS // 1000))

    @property
    def complete(self) -> bool:
        """It was played to its last sound."""
        return self.rendered.whole and self.position > self.rendered.last_sound - RATE * LOST_MS / 1000

    @property
    def lost_ms(self) -> float:
        """Audible speech before `position` that was never played."""
        lost, covered = 0, 0
        for stretch in self.stretches:
            gap = self.rendered.audio[covered : stretch.start]
            lost += sum(len(gap[at : at + _STEP]) for at in range(0, len(gap), _STEP) if _loud(gap, at))
            covered = max(covered, stretch.end)
        return lost * 1000 / RATE

    @property
    def repeated_words(self) -> int:
        """The most words that were heard twice at one resume, each of them wholly."""
        most = 0
        covered = 0
        for stretch in self.stretches:
            if stretch.start < covered:
                most = max(most, self._whole_words(stretch.start, covered))
            covered = max(covered, stretch.end)
        return most

    def _whole_words(self, start: int, end: int) -> int:
        """The words whose audio lies within the reply from `start` to `end`."""
        whole, began, before = 0, 0, 0
        for piece_end, text in self.rendered.ends:
            count = len(normalize(text).split())
            if count == before:
                continue
            if began >= start - _STEP and piece_end <= end:
                whole += count - before
            began, before = piece_end, count
        return whole
