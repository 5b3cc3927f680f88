"""When the samples of the caller's timeline reached the stage. Pure: the clock is passed in."""

from collections import deque
from collections.abc import Callable

from shared.audio import FRAME_MS

_REMEMBERED = 250
"""Frames (5 s): a provider may notice a silence seconds later."""


class Arrivals:
    """The newest frames and their times, in Unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Nothing has come. `clock` tells the time now."""
        self._clock = clock
        self._frames: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
        """(end of the frame on the caller's timeline in ms, time of its arrival)."""

    def add(self, end_ms: int) -> None:
        """A frame that ends at `end_ms` has come."""
        self._frames.append((end_ms, self._clock()))

    def clear(self) -> None:
        """Another line took over, with a timeline of its own."""
        self._frames.clear()

    @property
    def end_ms(self) -> int:
        """How far the caller's audio has come."""
        return self._frames[-1][0] if self._frames else 0

    def before(self, t_ms: int) -> float:
        """When the sample before `t_ms` came; now, if it has not."""
        for end_ms, at in self._frames:
            if end_ms >= t_ms:
                # What is older than the oldest frame came as much earlier.
                return at - max(0, end_ms - FRAME_MS - t_ms) / 1000
        return self._clock()

    def of(self, t_ms: int) -> float:
        """When the sample at `t_ms` came; now, if it has not."""
        return self.before(t_ms + 1)
