"""The carrier's playback buffer: what the caller hears of the agent, and when.

Pure: every method takes the present as `now`, in seconds of any clock that never runs back.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from shared.audio import RATE, SILENCE
from shared.loudness import last_audible
from shared.pcm import audible

MID_REPLY_S = 0.7
"""A buffer that ran dry and went on within this time stuttered; after a longer gap something new began."""
REST_S = 0.3
"""A shorter silence is part of what is being said."""
_REST = round(REST_S * RATE)
_HEARD = bytes(audible(bytes(range(256))).astype(np.uint8))
"""For `translate`: a sample that can be heard becomes 1, any other one 0."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Audio as the gateway sent it, or what a clear left of it."""

    start: float
    """When its first sample plays."""
    end: float
    """When its last sample was played."""


def _cut_off(spans: list[tuple[int, int]], end: int) -> None:
    while spans and spans[-1][1] > end:
        start, _ = spans.pop()
        if start < end:
            spans.append((start, end))


def _sounds(mulaw: bytes) -> list[tuple[int, int]]:
    """The first and last audible sample of each sound that a rest parts from the next one."""
    # Frames of 20 ms are the rule, fifty a second for each call: numpy costs more than they are worth.
    heard = mulaw.translate(_HEARD)
    first, last = heard.find(1), heard.rfind(1)
    if last - first <= _REST:
        return [] if first < 0 else [(first, last)]
    loud = np.flatnonzero(np.frombuffer(heard, dtype=np.uint8))
    rests = np.flatnonzero(np.diff(loud) > _REST)
    return list(zip(loud[np.append(0, rests + 1)].tolist(), loud[np.append(rests, -1)].tolist(), strict=True))


class Playback:
    """One call's agent track, sample by sample, and the marks in it."""

    def __init__(self, started: float) -> None:
        """The track begins at `started`."""
        self.started = started
        self.underruns = 0
        """How often the buffer ran dry in mid-reply."""
        self.cleared_at: list[float] = []
        """When the gateway cleared the buffer."""
        self._track = bytearray()
        self._pieces: list[tuple[int, int]] = []
        """The (start, end) of each piece in the track."""
        self._marks: deque[tuple[int, str]] = deque()
        self._cut = False
        self._stretches: list[tuple[int, int]] = []
        """The (start, end) of what can be heard, short rests included."""

    def _position(self, at: float) -> int:
        return max(0, round((at - self.started) * RATE))

    def _time(self, position: int) -> float:
        return self.started + position / RATE

    @property
    def clears(self) -> int:
        """How often the gateway cleared the buffer."""
        return len(self.cleared_at)

    @property
    def pieces(self) -> list[Piece]:
        """The pieces that came, in their order, as far as they are played."""
        return [Piece(self._time(start), self._time(end)) for start, end in self._pieces]

    @property
    def ends(self) -> float:
        """When all that is queued was played; the start of the track when nothing ever came."""
        return self._time(len(self._track))

    @property
    def silent_from(self) -> float:
        """When the last sample that can be heard, of all that came, was played; the start when there is none."""
        return self._time(self._stretches[-1][1]) if self._stretches else self.started

    def append(self, now: float, mulaw: bytes) -> None:
        """Audio came: it plays after what is queued, or at once."""
        gap = self._position(now) - len(self._track)
        if gap > 0:
            # A clear ends the reply, so that what comes next is no stutter.
            if self._track and not self._cut and gap < MID_REPLY_S * RATE:
                self.underruns += 1
            self._track += SILENCE * gap
        self._cut = False
        self._stretch(len(self._track), mulaw)
        if mulaw:
            self._pieces.append((len(self._track), len(self._track) + len(mulaw)))
        self._track += mulaw

    def _stretch(self, place: int, mulaw: bytes) -> None:
        for first, last in _sounds(mulaw):
            start, end = place + first, place + last + 1
            goes_on = bool(self._stretches) and start - self._stretches[-1][1] < _REST
            begun = self._stretches.pop()[0] if goes_on else start
            self._stretches.append((begun, end))

    def mark(self, name: str) -> None:
        """A mark came: it is due when the audio before it was played."""
        self._marks.append((len(self._track), name))

    def due(self, now: float) -> list[str]:
        """The marks reached by `now`, each handed out once."""
        names = []
        while self._marks and self._time(self._marks[0][0]) <= now:
            names.append(self._marks.popleft()[1])
        return names

    @property
    def next_mark(self) -> float | None:
        """When the next mark is due."""
        return self._time(self._marks[0][0]) if self._marks else None

    def clear(self, now: float) -> list[str]:
        """The gateway wants silence: drop what was not played yet; returns the marks that it takes along."""
        self.cleared_at.append(now)
        return self.drop(now)

    def drop(self, now: float) -> list[str]:
        """The stream is gone, or cleared: what was not played yet never will be."""
        self._cut = True
        end = self._position(now)
        del self._track[end:]
        _cut_off(self._pieces, end)
        _cut_off(self._stretches, end)
        if self._stretches:
            # A rest at its end is no part of a stretch.
            start, _ = self._stretches.pop()
            last = last_audible(self._track[start:])
            self._stretches.append((start, start + (last or 0) + 1))
        names = [name for _, name in self._marks]
        self._marks.clear()
        return names

    def first_audible(self, since: float) -> float | None:
        """When the first sample that can be heard plays, at or after `since`; it may lie in the future."""
        position = self._position(since)
        first = self._track[position:].translate(_HEARD).find(1)
        return None if first < 0 else self._time(position + first)

    def audible(self, now: float) -> bool:
        """Whether something that can be heard plays within 20 ms from `now`."""
        first = self.first_audible(now)
        return first is not None and first < now + 0.02

    def played(self) -> list[tuple[float, float]]:
        """The (start, end) of each stretch that can be heard, rests below REST_S included; what is queued as well."""
        return [(self._time(start), self._time(end)) for start, end in self._stretches]

    def between(self, start: float, end: float) -> bytes:
        """What was played from `start` to `end`."""
        position = self._position(start)
        length = max(0, self._position(end) - position)
        return bytes(self._track[position : position + length]).ljust(length, SILENCE)
