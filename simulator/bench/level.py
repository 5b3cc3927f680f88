"""One level: so many calls at the same time, and what is measured while all of them are up."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from simulator.bench import cost
from simulator.bench.cost import CALLERS, STANDINS, Look
from simulator.bench.crowd import Crowd, Wanted
from simulator.bench.result import Beyond, LevelResult, LoadSide, slowest, wrongs
from simulator.bench.site import Setting, Site, opened
from simulator.bench.speed import Speed, measured
from simulator.bench.told import Told
from simulator.bench.turn import CallResult, Turn
from simulator.bench.watch import Lags, Metronome, look, within
from simulator.commands.report import percentile

_SAMPLES = 20
"""Looks at the memory in a window that is held for long …"""
_SAMPLE_S = 2.0
"""… and the least time between them."""


@dataclass(slots=True)
class Window:
    """What was seen while all calls were up."""

    idle: Look
    """Before the first call."""
    looks: list[Look]
    """From the first moment of the window to its last one."""
    load_cores: int = 0
    late_ms: Sequence[float] = ()
    """Of the callers' clock."""
    lag_ms: dict[str, tuple[float, float]] = field(default_factory=dict)
    """p50 and p99, by service."""
    calibration_s: float = 0.0

    @property
    def first(self) -> Look:
        """At the beginning."""
        return self.looks[0]

    @property
    def last(self) -> Look:
        """At the end."""
        return self.looks[-1]

    @property
    def seconds(self) -> float:
        """How long it was open."""
        return self.last.at - self.first.at

    def rate(self, count: Callable[[Look], float]) -> float:
        """How much of what `count` tells there was in a second."""
        return (count(self.last) - count(self.first)) / self.seconds if self.seconds > 0 else 0.0

    def has(self, turn: Turn) -> bool:
        """Whether the turn began while it was open."""
        return self.first.at <= turn.began <= self.last.at

    @property
    def course(self) -> tuple[float, float, float]:
        """Memory of the system at the beginning, in the middle and at the end, in MB."""
        middle = min(self.looks, key=lambda seen: abs(seen.at - self.first.at - self.seconds / 2))
        begin, between, end = (cost.total(seen.rss_mb) for seen in (self.first, middle, self.last))
        return begin, between, end

    @property
    def load(self) -> LoadSide:
        """How the load side fared."""
        return LoadSide(
            share=cost.load_share(self.first, self.last, self.load_cores),
            late_p99_ms=percentile(self.late_ms, 99) if self.late_ms else 0.0,
            callers=cost.share(self.first, self.last, CALLERS),
            standins=cost.share(self.first, self.last, STANDINS),
        )


def summed_up(
    calls: int, results: Sequence[CallResult], told: Told, window: Window, beyond: Beyond | None
) -> LevelResult:
    """The figures of a level. Turns are judged whenever they were, and timed when they began in the window."""
    first, last = window.first, window.last
    turns = [turn for result in results for turn in result.turns]
    timed = [turn for turn in turns if window.has(turn)]
    connected = [result for result in results if result.up_at is not None]
    call_s = sum(cost.overlap_s(result.up_at or 0.0, result.ended_at, first, last) for result in connected)
    return LevelResult(
        calls=calls,
        window_s=window.seconds,
        turns=len(turns),
        answered=sum(turn.response_ms is not None for turn in turns),
        wrong=wrongs(results),
        wrong_turns=sum(bool(turn.reason) for turn in turns),
        added_ms=tuple(told.added_ms(turn.response_ms) for turn in timed if turn.response_ms is not None),
        clear_ms=tuple(turn.clear_ms for turn in timed if turn.clear_ms is not None),
        gaps=sum(result.underruns for result in results),
        refused=sum(result.refused for result in results),
        cost=cost.per_call_minute(first, last, call_s),
        memory=cost.memory_per_call(window.idle, last, len(connected)),
        course=window.course,
        lag_ms=window.lag_ms,
        calibration_s=window.calibration_s,
        messages_s=window.rate(lambda seen: seen.messages),
        traffic_mb_s=window.rate(lambda seen: seen.traffic_mb),
        load=window.load,
        beyond=beyond,
        slowest=slowest(results, told, window.has),
    )


async def run(wanted: Wanted, setting: Setting, progress: Callable[[str], None]) -> LevelResult:
    """Start a system, hold the calls, stop it. Raises ProcessFailed."""
    async with (
        opened(setting, wanted.calls, wanted.extra, progress) as site,
        _listening(site) as (lags, metronome, speed),
    ):
        crowd = Crowd(site, wanted)
        try:
            await crowd.warm_up()
            window, beyond = await _held(wanted, setting, site, crowd, progress)
            window.lag_ms = lags.spread(window.first.at, window.last.at)
            window.late_ms = within(metronome.late, window.first.at, window.last.at)
            window.calibration_s = speed.between(window.first.at, window.last.at)
            return summed_up(wanted.calls, await crowd.leave(), site.told, window, beyond)
        finally:
            crowd.abandon()


@asynccontextmanager
async def _listening(site: Site) -> AsyncIterator[tuple[Lags, Metronome, Speed]]:
    lags, metronome = Lags(), Metronome()
    await lags.listen(site.bus)
    ticking = asyncio.create_task(metronome.run())
    try:
        async with measured(site.cores) as speed:
            yield lags, metronome, speed
    finally:
        ticking.cancel()


async def _held(
    wanted: Wanted, setting: Setting, site: Site, crowd: Crowd, progress: Callable[[str], None]
) -> tuple[Window, Beyond | None]:
    """Place the calls and let them talk; returns what was seen, with all calls still up."""
    cores = setting.pins.load
    idle = await look(site.ring, site.http, cores)
    progress(f"{wanted.calls} calls …")
    began = time.monotonic()
    await crowd.arrive()
    progress(f"{wanted.calls} calls: up after {time.monotonic() - began:.0f} s")
    window = Window(idle, [await look(site.ring, site.http, cores)], len(cores))

    async def sample() -> None:
        while True:
            await asyncio.sleep(max(_SAMPLE_S, wanted.hold_s / _SAMPLES))
            window.looks.append(await look(site.ring, site.http, cores))

    sampling = asyncio.create_task(sample())
    try:
        beyond = await crowd.beyond()
        await crowd.talk(window.first.at)
    finally:
        sampling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sampling
    window.looks.append(await look(site.ring, site.http, cores))
    return window, beyond
