"""One timer that rings at the next deadline."""

import asyncio
import math
import time
from collections.abc import Callable

Clock = Callable[[], float]


class Timer:
    """Calls `ring` at the deadline that was set last.

    Deadlines are put off far more often than they are reached: the loop's timer stays where it is until then.
    """

    def __init__(self, ring: Callable[[], None], clock: Clock = time.time) -> None:
        """Deadlines are in the seconds of `clock`."""
        self._ring = ring
        self._clock = clock
        self._deadline = math.inf
        self._armed_for = math.inf
        self._handle: asyncio.TimerHandle | None = None

    def set(self, deadline: float | None) -> None:
        """Forget the deadline before; None: ring no more."""
        self._deadline = math.inf if deadline is None else deadline
        if deadline is None or deadline < self._armed_for:
            self._disarm()
        if deadline is not None and self._handle is None:
            self._arm(deadline)

    def _disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle, self._armed_for = None, math.inf

    def _arm(self, deadline: float) -> None:
        # uvloop rounds to milliseconds; a timer that fires early would have to be set again.
        delay_s = math.ceil(max(0.0, deadline - self._clock()) * 1000) / 1000
        loop = asyncio.get_running_loop()
        self._handle, self._armed_for = loop.call_at(loop.time() + delay_s, self._on_time), deadline

    def _on_time(self) -> None:
        reached, self._handle, self._armed_for = self._armed_for, None, math.inf
        if self._deadline > reached:
            self._arm(self._deadline)
        else:
            self._ring()
