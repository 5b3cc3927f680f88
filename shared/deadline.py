"""A deadline for others that a slow process does not miss for them.

A process that was held up finds its timers due before it has read what came in the meantime, and would take its own
lateness for somebody else's silence. So a deadline is counted in slices: each counts as its own length, however long
it took, and leaves the event loop a round for what waits to be read.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Any

_SLICE_S = 0.1


class Deadline:
    """Calls `work` once after `seconds`, unless it is cancelled before. Needs a running loop."""

    def __init__(self, seconds: float, work: Callable[[], None]) -> None:
        """Begins at once."""
        self._work = work
        self._slices = self._left = max(1, math.ceil(seconds / _SLICE_S))
        self._slice_s = seconds / self._slices
        self._timer = asyncio.get_running_loop().call_later(self._slice_s, self._pass)

    def _pass(self) -> None:
        self._left -= 1
        if self._left:
            self._timer = asyncio.get_running_loop().call_later(self._slice_s, self._pass)
        else:
            self._work()

    def renew(self) -> None:
        """Begin again, if it has neither passed nor been cancelled; at no cost."""
        # The slice that is under way began before.
        self._left = self._slices + 1

    def cancel(self) -> None:
        """It is kept, or of no interest any more."""
        self._timer.cancel()


class Within:
    """A context, see `within`. It may be entered again when it was left: one timer serves all that is waited for."""

    def __init__(self, seconds: float) -> None:
        """Begins when it is entered."""
        self._slices = max(1, math.ceil(seconds / _SLICE_S))
        self._slice_s = seconds / self._slices
        self._left = 0
        self._limit: asyncio.Timeout | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        self._left = self._slices
        if self._timer is None:
            self._arm()
        else:
            # The slice that is under way began before.
            self._left += 1
        self._limit = asyncio.timeout(None)
        await self._limit.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        limit, self._limit = self._limit, None
        if limit is not None:
            await limit.__aexit__(*error)

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._slice_s, self._pass)

    def _pass(self) -> None:
        self._timer = None
        if self._limit is None:
            return
        self._left -= 1
        if self._left:
            self._arm()
        else:
            self._limit.reschedule(asyncio.get_running_loop().time())


def within(seconds: float) -> Within:
    """What is done in this context takes no longer than a Deadline. Raises TimeoutError. Needs a running loop."""
    return Within(seconds)
