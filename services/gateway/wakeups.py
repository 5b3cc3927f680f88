"""Frames of many callers, taken together.

Each caller sends a frame every 20 ms, each at another moment. A process that wakes for every one of them pays for
waking more than for the frame, and so do those it writes to. So after a frame the event loop rests for a moment, and
what has come meanwhile is done in one go: what network cards call interrupt moderation.
"""

import time
from collections.abc import Callable

GAP_S = 0.005
"""Between two wakings: the most that a frame waits. A caller's frames are 20 ms apart, so one call never waits."""
_TURNS = 3
"""Of the event loop, after the frame: until then what it caused has left."""


class Wakeups:
    """Has one event loop rest between frames. The thread sleeps: a loop that waits is woken by the next frame."""

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], object],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`call_soon` is the loop's; `clock` gives seconds."""
        self._call_soon = call_soon
        self._clock = clock
        self._sleep = sleep
        self._turns = 0
        """That are left before the rest; 0: no frame has come since the last one."""
        self._woke_at = 0.0

    def arrived(self) -> None:
        """A frame has come."""
        if not self._turns:
            self._turns = _TURNS
            self._call_soon(self._turn)

    def _turn(self) -> None:
        self._turns -= 1
        if self._turns:
            self._call_soon(self._turn)
            return
        rest_s = self._woke_at + GAP_S - self._clock()
        if rest_s > 0:
            self._sleep(rest_s)
        self._woke_at = self._clock()
