"""One timer that rings at the next deadline."""

import asyncio
import math
import time
from collections.abc import Callable

Clock = Callable[[], float]


class Timer:
    """Calls `ring` at the deadline that was set last."""

    def __init__(self, ring: Callable[[], None], clock: Clock = time.time) -> None:
        """Deadlines are in the seconds of `clock`."""
        self._ring = ring
        self._clock = clock
        self._handle: asyncio.TimerHandle | None = None

    def set(self, deadline: float | None) -> None:
        """Forget the deadline before; None: ring no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if deadline is not None:
            # uvloop rounds to milliseconds; a timer that fires early would have to be set again.
            delay_s = math.ceil(max(0.0, deadline - self._clock()) * 1000) / 1000
            loop = asyncio.get_running_loop()
            self._handle = loop.call_at(loop.time() + delay_s, self._ring)
