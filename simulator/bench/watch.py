"""What is watched while calls talk: processes, cores, event loops, the broker, and the load side's own clock."""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence

import aiohttp
import psutil
from pydantic import ValidationError

from shared import subjects
from shared.bus import Bus
from shared.messages.worker import Heartbeat
from simulator.bench.cost import CALLERS, Look, service
from simulator.commands.report import percentile
from simulator.ring import Ring
from simulator.usage import Usage

_FRAME_S = 0.02


class Metronome:
    """Ticks as the callers' frames do, in the event loop of the callers, and notes how late."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Ticks within `run`."""
        self.late: list[tuple[float, float]] = []
        """(when, how late in ms) of each tick; a stall makes all ticks late that were due in it."""
        self._clock = clock

    async def run(self) -> None:
        """Tick until cancelled."""
        due = self._clock()
        while True:
            due += _FRAME_S
            await asyncio.sleep(max(0.0, due - self._clock()))
            now = self._clock()
            self.late.append((now, max(0.0, now - due) * 1000))


class Lags:
    """How late the event loops of the system run, as its heartbeats tell."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Empty until `listen`."""
        self.seen: dict[str, list[tuple[float, float]]] = defaultdict(list)
        """By service: (when, lag in ms)."""
        self._clock = clock

    async def listen(self, bus: Bus) -> None:
        """Hear every heartbeat from now on."""
        await bus.subscribe(subjects.HEARTBEATS, self.note)
        await bus.flush()

    async def note(self, subject: str, payload: bytes) -> None:
        """A heartbeat was heard now."""
        try:
            beat = Heartbeat.model_validate_json(payload)
        except ValidationError:
            return
        self.seen[beat.stage].append((self._clock(), beat.loop_lag_ms))

    def spread(self, start: float, end: float) -> dict[str, tuple[float, float]]:
        """p50 and p99 in ms from `start` to `end`, by service."""
        inside = {name: values for name in self.seen if (values := within(self.seen[name], start, end))}
        return {name: (percentile(values, 50), percentile(values, 99)) for name, values in inside.items()}


def within(samples: Sequence[tuple[float, float]], start: float, end: float) -> list[float]:
    """The values of those (when, value) from `start` to `end`."""
    return [value for at, value in samples if start <= at <= end]


def summed(usages: Iterable[Usage]) -> tuple[dict[str, float], dict[str, float]]:
    """CPU seconds and MB by service."""
    cpu: dict[str, float] = defaultdict(float)
    rss: dict[str, float] = defaultdict(float)
    for usage in usages:
        cpu[service(usage.name)] += usage.cpu_s
        rss[service(usage.name)] += usage.rss_mb
    return dict(cpu), dict(rss)


def _own() -> Usage:
    used = psutil.Process(os.getpid())
    times = used.cpu_times()
    return Usage(CALLERS, times.user + times.system, used.memory_info().rss / 1e6)


def busy_s(cores: Collection[int]) -> float:
    """How long these cores have worked in all, for whomever; 0 for those that nothing is known of."""
    known = psutil.cpu_times(percpu=True)
    busy = 0.0
    for core in cores:
        if core < len(known):
            times = known[core]
            busy += sum(times) - times.idle - getattr(times, "iowait", 0.0)
            # Linux counts what guests use twice.
            busy -= getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return busy


async def look(ring: Ring, http: aiohttp.ClientSession, load_cores: Collection[int]) -> Look:
    """All counts at this moment. Raises aiohttp.ClientError when the broker does not tell."""
    cpu, rss = summed([*ring.usage(), _own()])
    at, busy = time.monotonic(), busy_s(load_cores)
    async with http.get(f"{ring.monitor_url}/varz") as response:
        told = await response.json()
    messages, traffic = (int(told[f"in_{what}"]) + int(told[f"out_{what}"]) for what in ("msgs", "bytes"))
    return Look(at, cpu, rss, messages, traffic / 1e6, busy)
