"""When the samples of the caller's timeline reached the stage. Pure: the clock is passed in."""

from collections import deque
from collections.abc import Callable

from shared.audio import FRAME_MS

_REMEMBERED = 250
"""Frames (5 s at least): a provider may notice a silence seconds later."""
_CAUGHT_UP_S = 0.1
"""A frame that is so little behind its time is no kept one."""
_PACE_MS = 500
"""After so much audio it is judged whether it still comes faster than it was said."""


class Arrivals:
    """The newest frames and their times, in Unix seconds.

    What the gateway kept while no worker had the call comes in a burst. It reached the system in its own time, and
    nobody shall wait anew for the silence that followed it.
    """

    def __init__(self, clock: Callable[[], float], opened_at: float = 0.0) -> None:
        """Nothing has come. `clock` tells the time now.

        `opened_at`: when the timeline of the caller's line began, if that was before now; 0: it begins now.
        """
        self._clock = clock
        self._opened_at = opened_at
        self.catching_up = opened_at > 0
        """What came last, or what comes first, was kept."""
        self._paced_s = float("inf")
        """How late a frame was at the last judgement of the pace."""
        self._paced_ms: int | None = None
        """Where that frame ended; None: there was none."""
        self._frames: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
        """(end of the frame on the caller's timeline in ms, time of its arrival)."""

    def add(self, end_ms: int) -> None:
        """A frame that ends at `end_ms` has come."""
        at = now = self._clock()
        if self.catching_up:
            at = min(now, self._opened_at + end_ms / 1000)
            self.catching_up = now - at >= _CAUGHT_UP_S and self._fast(end_ms, now - at)
        self._frames.append((end_ms, at))

    def _fast(self, end_ms: int, late_s: float) -> bool:
        """Whether frames come faster than they were said; a line may have become slower since it was opened."""
        if self._paced_ms is None:
            self._paced_ms = end_ms - FRAME_MS
        audio_ms = end_ms - self._paced_ms
        if audio_ms < _PACE_MS:
            return True
        gained_s, self._paced_s, self._paced_ms = self._paced_s - late_s, late_s, end_ms
        return gained_s >= audio_ms / 1000 / 2

    def clear(self) -> None:
        """Another line took over, with a timeline of its own."""
        self._frames.clear()
        self.catching_up = False

    @property
    def end_ms(self) -> int:
        """How far the caller's audio has come."""
        return self._frames[-1][0] if self._frames else 0

    def before(self, t_ms: int) -> float:
        """When the sample before `t_ms` came; now, if it has not.

        What the carrier sends comes 20 ms at a time: in a longer frame the gateway held the first of it back.
        """
        found: tuple[int, float] | None = None
        # What is asked for is seldom older than the last few frames.
        for frame in reversed(self._frames):
            if frame[0] < t_ms:
                break
            found = frame
        if found is None:
            return self._clock()
        end_ms, at = found
        # What is older than the oldest frame came as much earlier.
        return at - max(0, end_ms - FRAME_MS - t_ms) / 1000

    def of(self, t_ms: int) -> float:
        """When the sample at `t_ms` came; now, if it has not."""
        return self.before(t_ms + 1)
