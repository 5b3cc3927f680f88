"""The carrier's playback buffer: what the caller hears of the agent, and when.

Pure: every method takes the present as `now`, in seconds of any clock that never runs back.
"""

from collections import deque

import numpy as np

from shared.audio import RATE, SILENCE, decode

AUDIBLE = 200
"""Samples (16 bit) louder than this can be heard; the same as `shared.espeak.trim` keeps."""
MID_REPLY_S = 0.7
"""A buffer that ran dry and went on within this time stuttered; after a longer gap something new began."""

_LOUD = np.abs(decode(bytes(range(256))).astype(np.int32)) > AUDIBLE


def last_audible(mulaw: bytes | bytearray) -> int | None:
    """The index of the last sample of `mulaw` that can be heard."""
    loud = np.flatnonzero(_LOUD[np.frombuffer(mulaw, dtype=np.uint8)])
    return int(loud[-1]) if len(loud) else None


class Playback:
    """One call's agent track, sample by sample, and the marks in it."""

    def __init__(self, started: float) -> None:
        """The track begins at `started`."""
        self.started = started
        self.underruns = 0
        """How often the buffer ran dry in mid-reply."""
        self.clears = 0
        self._track = bytearray()
        self._marks: deque[tuple[int, str]] = deque()
        self._cut = False
        self._last_loud: int | None = None

    def _position(self, at: float) -> int:
        return max(0, round((at - self.started) * RATE))

    def _time(self, position: int) -> float:
        return self.started + position / RATE

    @property
    def ends(self) -> float:
        """When all that is queued was played; the start of the track when nothing ever came."""
        return self._time(len(self._track))

    @property
    def silent_from(self) -> float:
        """When the last sample that can be heard, of all that came, was played; the start when there is none."""
        return self.started if self._last_loud is None else self._time(self._last_loud + 1)

    def append(self, now: float, mulaw: bytes) -> None:
        """Audio came: it plays after what is queued, or at once."""
        gap = self._position(now) - len(self._track)
        if gap > 0:
            # A clear ends the reply, so that what comes next is no stutter.
            if self._track and not self._cut and gap < MID_REPLY_S * RATE:
                self.underruns += 1
            self._track += SILENCE * gap
        self._cut = False
        if (last := last_audible(mulaw)) is not None:
            self._last_loud = len(self._track) + last
        self._track += mulaw

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
        self.clears += 1
        return self.drop(now)

    def drop(self, now: float) -> list[str]:
        """The stream is gone, or cleared: what was not played yet never will be."""
        self._cut = True
        del self._track[self._position(now) :]
        self._last_loud = last_audible(self._track)
        names = [name for _, name in self._marks]
        self._marks.clear()
        return names

    def first_audible(self, since: float) -> float | None:
        """When the first sample that can be heard plays, at or after `since`; it may lie in the future."""
        position = self._position(since)
        loud = _LOUD[np.frombuffer(self._track[position:], dtype=np.uint8)]
        return self._time(position + int(loud.argmax())) if loud.any() else None

    def audible(self, now: float) -> bool:
        """Whether something that can be heard plays within 20 ms from `now`."""
        first = self.first_audible(now)
        return first is not None and first < now + 0.02

    def between(self, start: float, end: float) -> bytes:
        """What was played from `start` to `end`."""
        position = self._position(start)
        length = max(0, self._position(end) - position)
        return bytes(self._track[position : position + length]).ljust(length, SILENCE)
