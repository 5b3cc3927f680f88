"""How many leases of a stage are asked for side by side: fewer when its workers do not keep up.

Additive increase, multiplicative decrease, as TCP does it (Chiu and Jain 1989; RFC 5681): workers that are asked for
everything at once answer nothing in time, and are asked for everything again.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CapacityLimiter

WIDEST = 20
"""All calls of a worker in well under a second, and none starves."""


class Overrun(Exception):
    """What was asked for in a place of the window did not come in time."""


class Window:
    """Places, handed out in the order in which they are asked for."""

    def __init__(self) -> None:
        """As wide as it gets."""
        self._places = CapacityLimiter(WIDEST)
        self._narrowed = 0
        """How often: what began before the last time says nothing new."""

    @property
    def width(self) -> int:
        """How many places there are."""
        return int(self._places.total_tokens)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place and hold it. Half as many after an Overrun, which goes on; one more after a success."""
        async with self._places:
            narrowed = self._narrowed
            try:
                yield
            except Overrun:
                if narrowed == self._narrowed:
                    self._narrowed += 1
                    self._places.total_tokens = max(1, self.width // 2)
                raise
            else:
                self._places.total_tokens = min(WIDEST, self.width + 1)
