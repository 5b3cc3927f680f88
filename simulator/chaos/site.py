"""A running system that is about to be broken: its processes, its live calls, and its way back to health."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, overload

import aiohttp

from shared import nats_bus, subjects
from shared.bus import Bus
from simulator.carrier import Gateway
from simulator.chaos.needs import Needs
from simulator.conversation import Setup
from simulator.plan import ProcessFailed
from simulator.readiness import State, asked, whole

if TYPE_CHECKING:
    from simulator.process import Process
    from simulator.ring import Ring

_POLL_S = 0.1
HEALTHY_WITHIN_S = 30.0


class NotStruck(Exception):
    """The fault did not come about, or what was to be orderly was not; the message says how."""


class Balancer(Sequence[str]):
    """The base URLs of the gateways that run at the moment: what a load balancer knows."""

    def __init__(self, ring: "Ring") -> None:
        """Of `ring`."""
        self._ring = ring

    def __len__(self) -> int:
        return len(self._ring.urls)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        return self._ring.urls[place]


@dataclass
class Site:
    """One ring, and what faults need to know of it."""

    ring: "Ring"
    http: aiohttp.ClientSession
    bus: Bus
    needs: Needs
    victims: set[int] = field(default_factory=set)
    """The process ids that the fault takes; empty: the fault concerns every call."""
    notes: list[str] = field(default_factory=list)
    """What else is worth telling of the fault."""

    def running(self, name: str) -> "list[Process]":
        """The processes of a service, oldest first."""
        return [process for process in self.ring.processes if process.name == name and process.running]

    def victim(self, name: str) -> "Process":
        """The process that is to be struck. Raises NotStruck."""
        processes = self.running(name)
        if not processes:
            raise NotStruck(f"no {name} runs")
        self.victims.add(processes[0].pid)
        return processes[0]

    def setup(self, dialled: str, number: int) -> Setup:
        """How call `number` is placed: the gateways take turns, and stand in for one another."""
        urls = self.ring.urls
        gateway = Gateway(urls[number % len(urls)], self.ring.auth_token, fallbacks=Balancer(self.ring))
        return Setup(self.http, gateway, dialled, self.bus)

    async def teach(self, texts: list[str]) -> None:
        """Let the stand-ins understand what callers will say."""
        if self.needs.vendors:
            async with self.http.post(f"{self.ring.standins_url}/standins/phrases", json={"texts": texts}) as response:
                response.raise_for_status()

    async def behave(self, **changes: str) -> None:
        """Change how the stand-ins behave. Raises NotStruck."""
        url = f"{self.ring.standins_url}/standins/behaviour"
        async with self.http.patch(url, json=changes) as response:
            if response.status != 200:
                raise NotStruck(f"PATCH /standins/behaviour: {response.status} {(await response.text())[:200]}")

    async def processes_of_calls(self) -> dict[str, set[int]]:
        """The process ids that hold each live call."""
        answer: list[dict[str, object]] = json.loads(await self.bus.request(subjects.LIVE_CALLS, b"", 2.0))
        return {str(call["call_id"]): _pids(call) for call in answer}

    async def state(self, process: "Process") -> State:
        """What a service's `/ready` says; empty when it does not answer."""
        return await asked(self.http, self.ring.url_of(process))

    async def mend(self) -> None:
        """Start what is missing and wait until all is well and no call is left. Raises ProcessFailed."""
        for process in self.ring.processes:
            process.send(signal.SIGCONT)
            if process.name == "nats" and not process.running:
                await process.start()
        if self.needs.vendors:
            await self.behave(stt_fault="", llm_fault="", tts_fault="")
        for name, count in self.needs.counts.items():
            for _ in range(count - len(self.running(name))):
                await self.ring.add(name)
        self.victims.clear()
        self.notes.clear()
        await self._until_well()

    async def _until_well(self) -> None:
        deadline = time.monotonic() + HEALTHY_WITHIN_S
        while wrong := await self._wrong():
            if time.monotonic() > deadline:
                raise ProcessFailed(f"not well again within {HEALTHY_WITHIN_S:g} s: {wrong}")
            await asyncio.sleep(_POLL_S)

    async def _wrong(self) -> str:
        for name in self.needs.counts:
            for process in self.running(name):
                state = await self.state(process)
                if not whole(state) or state.get("calls"):
                    return f"{process.label}: {state or 'no answer'}"
                breakers = state.get("breakers")
                if isinstance(breakers, dict) and "open" in breakers.values():
                    return f"{process.label}: {breakers}"
        return ""


def _pids(call: dict[str, object]) -> set[int]:
    """Those of the processes that hold a call, out of their ids `<stage>-<host>-<pid>-<random>`."""
    workers = call["workers"] if isinstance(call["workers"], dict) else {}
    names = [str(call["gateway"]), *map(str, workers.values())]
    return {int(parts[-2]) for name in names if (parts := name.split("-")) and parts[-2].isdecimal()}


@asynccontextmanager
async def opened(needs: Needs, calls: int, logs: Path | None) -> AsyncIterator[Site]:
    """A ring of its own, its logs in `logs` or nowhere. Raises ProcessFailed."""
    # Imported here: psutil comes with requirements/dev.txt only.
    from simulator.ring import Ring

    with TemporaryDirectory(prefix="trunkline-chaos-") as folder:
        async with Ring(needs.plan(calls, Path(folder)), logs) as ring, aiohttp.ClientSession() as http:
            bus = await nats_bus.connect(ring.nats_url, "chaos")
            try:
                yield Site(ring, http, bus, needs)
            finally:
                await bus.close()
