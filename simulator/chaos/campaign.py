"""Many faults, one ring for those that need the same; a ring that does not get well again is replaced."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from shared.bus import BusError
from simulator.chaos.catalogue import Entry
from simulator.chaos.ears import Ears
from simulator.chaos.needs import Needs
from simulator.chaos.site import NotStruck, Site, opened
from simulator.chaos.trial import Cast, Scene, Trial
from simulator.plan import ProcessFailed

Told = Callable[[str], None]


@dataclass(frozen=True)
class Campaign:
    """What is the same for all faults."""

    casts: dict[str, Cast]
    """By agent."""
    ears: Ears
    seed: int
    logs: Path | None
    """Each ring's logs go to a folder of their own in it."""
    tell: Told
    done: Callable[[Trial], None]
    """Called with each result as it comes."""

    async def run(self, entries: Sequence[Entry], rings: int) -> list[Trial]:
        """Try all faults, at most `rings` rings at the same time. Results in the order of `entries`."""
        together, starting = asyncio.Semaphore(rings), asyncio.Lock()
        groups: dict[Needs, list[Entry]] = {}
        for entry in entries:
            groups.setdefault(entry.needs, []).append(entry)

        async def one(number: int, group: list[Entry]) -> list[Trial]:
            async with together:
                return await self._group(group, starting, None if self.logs is None else self.logs / f"ring-{number}")

        shares = [share for group in groups.values() for share in _shares(group, rings)]
        results = await asyncio.gather(*(one(number, share) for number, share in enumerate(shares)))
        by_name = {trial.name: trial for result in results for trial in result}
        return [by_name[entry.name] for entry in entries]

    async def _group(self, entries: Sequence[Entry], starting: asyncio.Lock, logs: Path | None) -> list[Trial]:
        trials: list[Trial] = []
        waiting = list(entries)
        while waiting:
            folder = None if logs is None else logs / str(len(trials))
            trials += await self._ring(waiting, starting, folder)
            waiting = list(entries[len(trials) :])
        return trials

    async def _ring(self, entries: Sequence[Entry], starting: asyncio.Lock, logs: Path | None) -> list[Trial]:
        """Try as many of the faults on one ring as it survives, at least one. Rings start one after the other."""
        trials: list[Trial] = []
        calls = max(len(cast.scripts) for cast in self.casts.values())
        try:
            async with AsyncExitStack() as stack:
                self.tell(f"starting {entries[0].needs} …")
                async with starting:
                    site = await stack.enter_async_context(opened(entries[0].needs, calls, logs))
                for entry in entries:
                    trials.append(await self._try(site, entry))
                    if len(trials) < len(entries):
                        await site.mend()
        except (ProcessFailed, BusError, NotStruck, OSError) as error:
            self.tell(f"this ring is given up: {error}")
            if not trials:
                trials.append(Trial(entries[0].name, failures=[str(error)]))
                self.done(trials[0])
        return trials

    async def _try(self, site: Site, entry: Entry) -> Trial:
        self.tell(f"{entry.name}: {entry.what} …")
        # Of the name too: a fault alone strikes at the same moment as among others.
        rng = random.Random(f"{self.seed} {entry.name}")
        trial = await Scene(site, entry, self.casts[entry.agent], self.ears, rng).play()
        self.done(trial)
        return trial


def _shares(entries: list[Entry], rings: int) -> list[list[Entry]]:
    """Faults of one kind of ring, shared out to as many rings as may run; a ring of its own pays from a few on."""
    count = min(rings, max(1, len(entries) // 4))
    return [entries[start::count] for start in range(count)]
