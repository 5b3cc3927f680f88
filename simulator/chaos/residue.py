"""What calls leave behind in a running system when they are over."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from shared import nats_bus, subjects
from shared.bus import Bus, BusError, NoResponders
from simulator.chaos.site import Site

if TYPE_CHECKING:
    from simulator.process import Process

_POLL_S = 0.5
_ANSWER_S = 0.2
_TASKS = 2
"""A look may fall on a round of heartbeats and knocks."""
_SUBJECTS = {
    "gateway": ("audio.in", "playback", "takeover"),
    "stt": ("speech.started", "speech.final"),
    "llm": ("reply.text", "control"),
    "tts": ("audio.out",),
}
"""A call's subjects, by a service that may send there: a request tells whether anybody still listens."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What one process holds of its machine."""

    label: str
    fds: int
    """Files and sockets."""
    threads: int
    rss_mb: float
    tasks: int
    """Of its event loop; 0 for a process that does not tell."""

    @classmethod
    def of(cls, process: "Process", tasks: int) -> "Holding":
        """The process as it is now. Raises psutil.Error."""
        watched = psutil.Process(process.pid)
        return cls(process.label, watched.num_fds(), watched.num_threads(), watched.memory_info().rss / 1e6, tasks)


@dataclass(slots=True)
class Memory:
    """How the memory of one process grew with the calls."""

    calls: list[int] = field(default_factory=list)
    mb: list[float] = field(default_factory=list)

    def note(self, calls: int, mb: float) -> None:
        """So much memory after so many calls."""
        self.calls.append(calls)
        self.mb.append(mb)

    @property
    def slope(self) -> float:
        """MB for each 100 calls: the line that fits best; 0 while there are not two points."""
        count = len(self.calls)
        mean_calls, mean_mb = sum(self.calls) / max(1, count), sum(self.mb) / max(1, count)
        spread = sum((calls - mean_calls) ** 2 for calls in self.calls)
        if not spread:
            return 0.0
        together = sum((c - mean_calls) * (m - mean_mb) for c, m in zip(self.calls, self.mb, strict=True))
        return 100 * together / spread


async def holdings(site: Site) -> list[Holding]:
    """Of all processes that run."""
    return [Holding.of(process, await _tasks(site, process)) for process in site.ring.processes if process.running]


async def _tasks(site: Site, process: "Process") -> int:
    if process.name not in site.needs.counts:
        return 0
    tasks = (await site.state(process)).get("tasks", 0)
    return tasks if isinstance(tasks, int) else 0


async def busy(site: Site) -> str:
    """What is not over yet, in words; "" when no process holds a call and no call is live."""
    for process in site.ring.processes:
        if process.running and process.name in site.needs.counts:
            state = await site.state(process)
            if state.get("calls") != 0:
                return f"{process.label} says {state or 'nothing'}"
    live = await site.processes_of_calls()
    return f"{len(live)} live calls: {', '.join(sorted(live)[:5])}" if live else ""


async def settled(site: Site, within_s: float) -> str:
    """Wait until nothing is busy; what still is after `within_s`."""
    deadline = time.monotonic() + within_s
    while left := await busy(site):
        if time.monotonic() > deadline:
            return left
        await asyncio.sleep(_POLL_S)
    return ""


@asynccontextmanager
async def _users(site: Site) -> AsyncIterator[dict[str, Bus]]:
    async with AsyncExitStack() as stack:
        buses: dict[str, Bus] = {}
        for user in _SUBJECTS:
            buses[user] = bus = await nats_bus.connect(site.ring.broker(user), "leaks")
            stack.push_async_callback(bus.close)
        yield buses


async def listened_to(site: Site, call_ids: Sequence[str]) -> list[str]:
    """The subjects of these calls at which somebody still listens. Raises BusError."""
    found = []
    async with _users(site) as buses:
        for user, suffixes in _SUBJECTS.items():
            for suffix in suffixes:
                for call_id in call_ids:
                    if await _listens(buses[user], subjects.call(call_id, suffix)):
                        found.append(subjects.call(call_id, suffix))
    return found


async def _listens(bus: Bus, subject: str) -> bool:
    try:
        await bus.request(subject, b"", _ANSWER_S)
    except NoResponders:
        return False
    except BusError:
        return True
    return True


def grown(before: Sequence[Holding], after: Sequence[Holding], threads: int) -> Iterator[str]:
    """The processes that hold more files than before, or more than `threads` more threads, in sentences."""
    known = {holding.label: holding for holding in before}
    for now in after:
        then = known.get(now.label)
        if then is None:
            continue
        if now.fds > then.fds:
            yield f"{now.label} holds {now.fds} files and sockets, {then.fds} before"
        if now.threads > then.threads + threads:
            yield f"{now.label} has {now.threads} threads, {then.threads} before"
        if now.tasks > then.tasks + _TASKS:
            yield f"{now.label} has {now.tasks} tasks, {then.tasks} before"
