"""Many calls that end in every way, and then nothing may be left of them."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import yaml

from shared import nats_bus
from simulator.carrier import Gateway, WebhookFailed
from simulator.chaos import residue
from simulator.chaos.endings import ENDINGS, Exchange, NotEnded
from simulator.chaos.needs import AGENTS, Needs
from simulator.chaos.residue import Holding, Memory
from simulator.chaos.site import Site
from simulator.plan import OFFLINE, Plan
from simulator.ring import Ring

DIALLED, BRIEF = "+15550100", "+15550198"
_BRIEF_S = 3
_NEEDS = Needs(workers=1)
SETTLED_WITHIN_S = 60.0
"""More than a gateway waits for a carrier that may come back."""
_FDS_WITHIN_S = 10.0
_THREADS = 8
"""A pool of threads grows to its size with the calls; more is a leak."""
_BATCHES = 5
_FIRST = 8
"""Calls of each kind before anything is measured, at most: as many at the same time as there will ever be."""
_PER_SECOND = 4.0
"""More calls than this do not begin in a second: what happens to callers that are turned away is not looked at here."""


@dataclass(slots=True)
class Audit:
    """What the calls left behind."""

    calls: int = 0
    by_ending: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    """Calls that did not end as they should have."""
    left: list[str] = field(default_factory=list)
    """What is left, in sentences."""
    before: list[Holding] = field(default_factory=list)
    after: list[Holding] = field(default_factory=list)
    memory: dict[str, Memory] = field(default_factory=dict)
    """By process."""

    @property
    def clean(self) -> bool:
        """Nothing is left, and every call ended as it should have."""
        return not self.failures and not self.left


def _agents(folder: Path) -> Path:
    """The agents that ship, and one whose calls last a few seconds."""
    document = yaml.safe_load(AGENTS.read_text())
    first = document["agents"][document["default"]]
    document["agents"]["brief"] = {**first, "numbers": [BRIEF], "max_call_s": _BRIEF_S}
    path = folder / "agents.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


async def audit(calls: int, concurrent: int, seed: int, logs: Path | None, tell: Callable[[str], None]) -> Audit:
    """Start a system, place the calls, look for what is left. Raises ProcessFailed or BusError."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="trunkline-leaks-")))
        limits = {"MAX_CALLS": str(calls + 100), "CALLS_PER_MINUTE_SOURCE": "0", "CALLS_PER_MINUTE_CALLER": "0"}
        env = {**OFFLINE, **limits, "AGENTS_FILE": str(_agents(folder))}
        ring = await stack.enter_async_context(Ring(Plan(_NEEDS.counts, env), logs, tell))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        bus = await nats_bus.connect(ring.nats_url, "leaks")
        stack.push_async_callback(bus.close)
        return await _Auditor(Site(ring, http, bus, _NEEDS), seed, tell).run(calls, concurrent)


class _Auditor:
    def __init__(self, site: Site, seed: int, tell: Callable[[str], None]) -> None:
        self._site = site
        self._rng = random.Random(seed)
        self._tell = tell
        self._ids: list[str] = []
        self._result = Audit()

    async def run(self, calls: int, concurrent: int) -> Audit:
        result = self._result
        # Whatever is made once, by the first call that needs it, is no leak.
        await self._place(list(ENDINGS) * max(1, min(_FIRST, calls // (2 * len(ENDINGS)))), concurrent)
        await self._settle("the first calls")
        result.before = await residue.holdings(self._site)
        await self._note_memory()
        ways = (list(ENDINGS) * (calls // len(ENDINGS) + 1))[:calls]
        self._rng.shuffle(ways)
        for number in range(_BATCHES):
            await self._place(ways[number::_BATCHES], concurrent)
            await self._note_memory()
            self._tell(f"{result.calls} calls, {len(result.failures)} of them did not end as they should have")
        await self._settle("all calls")
        result.left += [f"somebody listens to {subject}" for subject in await self._listened()]
        await self._compare()
        await self._note_memory()
        return result

    async def _place(self, ways: Sequence[str], concurrent: int) -> None:
        together = asyncio.Semaphore(concurrent)
        # Of their own: connections that are kept alive would count as the gateway's sockets.
        async with aiohttp.ClientSession() as http:
            await asyncio.gather(*(self._one(http, way, number, together) for number, way in enumerate(ways)))

    async def _one(self, http: aiohttp.ClientSession, way: str, number: int, together: asyncio.Semaphore) -> None:
        await asyncio.sleep(number / _PER_SECOND)
        async with together:
            self._result.calls += 1
            self._result.by_ending[way] += 1
            gateway = Gateway(self._site.ring.urls[0], self._site.ring.auth_token)
            caller = f"+1555{3_000_000 + self._result.calls}"
            try:
                self._ids.append(await ENDINGS[way](Exchange(http, gateway, DIALLED, BRIEF, caller)))
            except (NotEnded, WebhookFailed, aiohttp.ClientError, OSError, TimeoutError) as error:
                self._result.failures.append(f"{way}: {error or type(error).__name__}")

    async def _settle(self, what: str) -> None:
        self._tell(f"waiting until {what} are over everywhere …")
        if left := await residue.settled(self._site, SETTLED_WITHIN_S):
            self._result.left.append(f"{SETTLED_WITHIN_S:g} s after {what}: {left}")

    async def _listened(self) -> list[str]:
        return await residue.listened_to(self._site, self._ids)

    async def _compare(self) -> None:
        deadline = asyncio.get_running_loop().time() + _FDS_WITHIN_S
        while True:
            self._result.after = await residue.holdings(self._site)
            grown = list(residue.grown(self._result.before, self._result.after, _THREADS))
            if not grown or asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(0.5)
        self._result.left += grown

    async def _note_memory(self) -> None:
        for holding in await residue.holdings(self._site):
            self._result.memory.setdefault(holding.label, Memory()).note(self._result.calls, holding.rss_mb)
