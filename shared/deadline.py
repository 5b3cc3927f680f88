"""A deadline for others that a slow process does not miss for them.

A process that was held up finds its timers due before it has read what came in the meantime, and would take its own
lateness for somebody else's silence. So a deadline is counted in slices: each counts as its own length, however long
it took, and leaves the event loop a round for what waits to be read.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

_SLICE_S = 0.1


class Deadline:
    """Calls `work` once after `seconds`, unless it is cancelled before. Needs a running loop."""

    def __init__(self, seconds: float, work: Callable[[], None]) -> None:
        """Begins at once."""
        self._work = work
        self._slices = max(1, math.ceil(seconds / _SLICE_S))
        self._slice_s = seconds / self._slices
        self._timer = asyncio.get_running_loop().call_later(self._slice_s, self._pass)

    def _pass(self) -> None:
        self._slices -= 1
        if self._slices:
            self._timer = asyncio.get_running_loop().call_later(self._slice_s, self._pass)
        else:
            self._work()

    def cancel(self) -> None:
        """It is kept, or of no interest any more."""
        self._timer.cancel()


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """What is done in this context takes no longer than a Deadline. Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        deadline = Deadline(seconds, lambda: limit.reschedule(loop.time()))
        try:
            yield
        finally:
            deadline.cancel()
