"""The calls of one level: they arrive, talk until all have said their lines, and leave."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from shared import subjects
from simulator import telegraph
from simulator.bench.call import Call
from simulator.bench.result import Beyond, wrongs
from simulator.bench.site import Site
from simulator.bench.turn import CallResult
from simulator.phone import Phone
from simulator.plan import ProcessFailed

_POLL_S = 0.2
_ASK_S = 5.0
_TURN_S = 60.0
"""A turn that takes longer does not hold up the level."""
_ANSWERED_S = 60.0
"""So long after the last call was placed all of them are up, or were refused."""
_ARRIVALS_A_SECOND = 10
_SHORTEST_RAMP_S = 10.0
_BEYOND_SHARE = 10
"""One call in so many is placed beyond what fits."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How one level is run."""

    calls: int
    turns: int = 4
    """Lines that every call says in the window, at the least."""
    ramp_s: float | None = None
    """The calls begin within this time; None: ten in a second, and in no less than ten seconds."""
    hold_s: float = 0.0
    """The window is so long, at the least."""
    past: bool = False
    """Try what meets calls that are too many."""

    @property
    def arrival_s(self) -> float:
        """The calls begin within this time."""
        return max(_SHORTEST_RAMP_S, self.calls / _ARRIVALS_A_SECOND) if self.ramp_s is None else self.ramp_s

    @property
    def extra(self) -> int:
        """Calls that are too many."""
        return max(1, self.calls // _BEYOND_SHARE) if self.past else 0


class Crowd:
    """The calls of a level."""

    def __init__(self, site: Site, wanted: Wanted) -> None:
        """Nobody calls before `arrive`."""
        self._site = site
        self._wanted = wanted
        self._enough = False
        self._tasks: list[asyncio.Task[CallResult]] = []
        self.calls = [self._call(number, lambda: self._enough) for number in range(wanted.calls)]

    def _call(self, number: int, enough: Callable[[], bool]) -> Call:
        site = self._site
        setup = site.setup
        phone = Phone(setup.http, setup.gateway, setup.dialled, f"+1555{1_000_000 + number}")
        return Call(phone, number, site.scripts[number], site.greeting, telegraph.read, enough)

    @property
    def results(self) -> list[CallResult]:
        """Of all calls, as they are by now."""
        return [call.result for call in self.calls]

    async def warm_up(self) -> None:
        """One call before all others: what is loaded once belongs to no call. Raises ProcessFailed."""
        said = iter((False,))
        result = await self._call(0, lambda: next(said, True)).hold()
        if result.refused or not any(turn.response_ms for turn in result.turns):
            told = "; ".join((*wrongs([result]), *result.sentences))
            raise ProcessFailed(f"the call that warms up was not answered: {told}")
        await self._until_nobody_calls()

    async def _until_nobody_calls(self) -> None:
        deadline = time.monotonic() + _ASK_S
        while json.loads(await self._site.bus.request(subjects.LIVE_CALLS, b"", _ASK_S)):
            if time.monotonic() > deadline:
                raise ProcessFailed(f"a call that was hung up is still live after {_ASK_S:g} s")
            await asyncio.sleep(_POLL_S)

    async def arrive(self) -> None:
        """Place the calls one after the other; returns when all are up or were refused."""

        async def later(call: Call, delay_s: float) -> CallResult:
            await asyncio.sleep(delay_s)
            return await call.hold()

        each_s = self._wanted.arrival_s / len(self.calls)
        self._tasks = [asyncio.create_task(later(call, each_s * n)) for n, call in enumerate(self.calls)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._wanted.arrival_s + _ANSWERED_S):
                await asyncio.gather(*(call.up.wait() for call in self.calls))

    async def talk(self, since: float) -> None:
        """Wait until every live call has said its lines since `since`, and the window is long enough."""
        wanted = self._wanted
        latest = since + wanted.hold_s + wanted.turns * _TURN_S
        while (now := time.monotonic()) < latest:
            said = [result.judged(since) for result in self.results if result.up_at and not result.ended_at]
            if now >= since + wanted.hold_s and min(said, default=wanted.turns) >= wanted.turns:
                return
            await asyncio.sleep(_POLL_S)

    async def beyond(self) -> Beyond | None:
        """Place the calls that are too many."""
        numbers = range(self._wanted.calls, self._wanted.calls + self._wanted.extra)
        if not numbers:
            return None
        results = await asyncio.gather(*(self._call(number, lambda: True).hold() for number in numbers))
        spoken_to = sum(result.refused and bool(result.sentences) for result in results)
        return Beyond(len(results), spoken_to, sum(result.up_at is not None for result in results))

    async def leave(self) -> list[CallResult]:
        """Let all finish what they are at, and hang up."""
        self._enough = True
        return await asyncio.gather(*self._tasks)

    def abandon(self) -> None:
        """Stop in the middle of it all."""
        for task in self._tasks:
            task.cancel()
