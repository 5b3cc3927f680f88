"""Knocking at the workers that hold this gateway's calls: the broker knows at once when a connection is dead."""

import asyncio
import contextlib
import time
from bisect import bisect_right
from collections.abc import Callable, Collection
from dataclasses import dataclass

from shared import subjects
from shared.bus import Bus, Disconnected, NoResponders, RequestTimeout

_ANSWER_WITHIN_S = 0.2
"""A knock that met the end of its worker must not hold up those that tell of it."""
AT_ONCE = 20
"""Knocks in one round: of more workers, each gets its knock in a later one. A fleet's knocks must not grow with its
square; there heartbeats tell first that a worker is lost."""
_MISSES = 3
_MISSED_FOR_S = 0.25
"""A worker that changes its connection is without subscriptions for a moment."""


@dataclass(slots=True)
class _Miss:
    first_at: float
    last_at: float
    count: int = 1


class Misses:
    """Who was not there, again and again. Pure."""

    def __init__(self) -> None:
        """Everybody is there."""
        self._misses: dict[str, _Miss] = {}

    def missed(self, worker: str, now: float) -> None:
        """The broker knows nobody of this name."""
        miss = self._misses.get(worker)
        if miss is None:
            self._misses[worker] = _Miss(now, now)
        else:
            miss.count += 1
            miss.last_at = now

    def there(self, worker: str) -> None:
        """It is there, though it may be too busy to answer, or nothing is known because the broker is away."""
        self._misses.pop(worker, None)

    def gone_since(self, worker: str) -> float | None:
        """Since when `worker` has surely been gone; None when it may be there."""
        miss = self._misses.get(worker)
        if miss is None or miss.count < _MISSES or miss.last_at - miss.first_at < _MISSED_FOR_S:
            return None
        return miss.first_at

    @property
    def workers(self) -> list[str]:
        """Who was not there the last time."""
        return [*self._misses]

    def only(self, workers: Collection[str]) -> None:
        """Nobody else is of interest."""
        for worker in [*self._misses]:
            if worker not in workers:
                del self._misses[worker]


class Knocks:
    """Knocks in rounds; a worker that hangs holds up nobody else's."""

    def __init__(self, bus: Bus, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` in seconds."""
        self.misses = Misses()
        self._bus = bus
        self._clock = clock
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._last = ""
        """Who got the last knock of those who are knocked at in turns."""

    def round(self, workers: dict[str, str]) -> None:
        """Begin a round; `workers` are stages by worker."""
        self.misses.only(workers)
        for worker in self._chosen(workers):
            if worker not in self._under_way:
                task = self._under_way[worker] = asyncio.create_task(self._knock(workers[worker], worker))
                task.add_done_callback(lambda _, worker=worker: self._under_way.pop(worker))  # type: ignore[misc]

    def _chosen(self, workers: Collection[str]) -> Collection[str]:
        """Those who were not there the last time, and in turns the others."""
        if len(workers) <= AT_ONCE:
            return workers
        missed = self.misses.workers[:AT_ONCE]
        others = sorted(worker for worker in workers if worker not in missed)
        begin = bisect_right(others, self._last)
        chosen = [*others[begin:], *others[:begin]][: AT_ONCE - len(missed)]
        self._last = chosen[-1] if chosen else self._last
        return [*missed, *chosen]

    async def _knock(self, stage: str, worker: str) -> None:
        try:
            with contextlib.suppress(RequestTimeout, Disconnected):
                await self._bus.request(subjects.knock(stage, worker), b"", _ANSWER_WITHIN_S)
            self.misses.there(worker)
        except NoResponders:
            self.misses.missed(worker, self._clock())

    def stop(self) -> None:
        """Knock no more."""
        for task in self._under_way.values():
            task.cancel()
