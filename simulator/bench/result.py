"""What came of one level, and whether it was good. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from simulator.bench.cost import total
from simulator.bench.told import Told
from simulator.bench.turn import CallResult, Turn
from simulator.commands.report import percentile

GOOD_P95_MS = 100.0
"""The response that the platform adds, at the most, for a level to count."""
LOAD_SHARE = 0.9
_SLOWEST = 5
"""Turns that are told."""
LATE_MS = 20.0
"""A frame of the callers that leaves later than the next one is due was not sent by a telephone line."""


@dataclass(frozen=True, slots=True)
class LoadSide:
    """How the callers and the stand-ins fared: when they are late, it is not the system that is measured."""

    share: float
    """How busy their core was, 0 to 1."""
    late_p99_ms: float
    """Of the clock of the callers' 20 ms frames."""
    callers: float
    """The share of a core that the callers took …"""
    standins: float
    """… and the stand-ins."""

    @property
    def bottleneck(self) -> str:
        """Why it was the bottleneck, in words; "" when it was not."""
        reasons = []
        if self.share > LOAD_SHARE:
            reasons.append(f"its core was {self.share:.0%} busy")
        if self.late_p99_ms > LATE_MS:
            reasons.append(f"its frames left {self.late_p99_ms:.0f} ms late (p99)")
        return " and ".join(reasons)


@dataclass(frozen=True, slots=True)
class Beyond:
    """What met the calls that were too many."""

    calls: int
    spoken_to: int
    """Refused with a sentence."""
    connected: int


@dataclass(frozen=True, slots=True)
class LevelResult:
    """So many calls at the same time. Times in ms, memory in MB."""

    calls: int
    window_s: float
    """All calls were up for so long: what is measured is of this time."""
    turns: int
    """Lines said in all, also before and after."""
    answered: int
    wrong: tuple[str, ...]
    """What was wrong, one sentence for each turn or call."""
    wrong_turns: int
    added_ms: tuple[float, ...]
    clear_ms: tuple[float, ...]
    gaps: int
    """Replies in which the carrier's buffer ran dry."""
    refused: int
    cost: Mapping[str, float] = field(default_factory=dict)
    """CPU seconds for a minute of a call, by service."""
    memory: Mapping[str, float] = field(default_factory=dict)
    """For each call, by service."""
    course: tuple[float, ...] = ()
    """Memory of the whole system at the beginning of the window, in its middle and at its end."""
    lag_ms: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """How late the event loops ran, by service."""
    calibration_s: float = 0.0
    """CPU seconds of a calibration (simulator/bench/speed.py) on the system's core meanwhile; 0: not measured."""
    messages_s: float = 0.0
    """To and from the broker in a second …"""
    traffic_mb_s: float = 0.0
    """… and in MB."""
    load: LoadSide = LoadSide(0.0, 0.0, 0.0, 0.0)
    beyond: Beyond | None = None
    slowest: tuple[str, ...] = ()
    """The turns to which most was added, one sentence each."""

    @property
    def right(self) -> int:
        """Turns whose answer was right."""
        return self.turns - self.wrong_turns

    def added(self, percent: float) -> float | None:
        """A percentile of what the platform added; None without an answer."""
        return percentile(self.added_ms, percent) if self.added_ms else None

    @property
    def cost_sum(self) -> float:
        """CPU seconds of the whole system for a minute of a call."""
        return total(self.cost)

    @property
    def good(self) -> bool:
        """Whether so many calls can be held, as far as this load side could tell."""
        return self._served and not self.late

    @property
    def only_late(self) -> bool:
        """Whether answers came late, and nothing else is amiss."""
        return self._served and self.late

    @property
    def late(self) -> bool:
        """Whether more was added to answers than a caller should notice."""
        p95 = self.added(95)
        return p95 is None or p95 >= GOOD_P95_MS

    @property
    def _served(self) -> bool:
        return not (self.wrong or self.refused or self.load.bottleneck)


def slowest(results: Sequence[CallResult], told: Told, timed: Callable[[Turn], bool]) -> tuple[str, ...]:
    """The turns of those that are `timed` to which most was added, the slowest first."""
    turns = [
        (told.added_ms(ms), result.number, turn)
        for result in results
        for turn in result.turns
        if (ms := turn.response_ms) is not None and timed(turn)
    ]
    worst = sorted(turns, key=lambda entry: -entry[0])[:_SLOWEST]
    return tuple(f"call {number}: “{turn.said}”: {added_ms:.0f} ms{_cleared(turn)}" for added_ms, number, turn in worst)


def _cleared(turn: Turn) -> str:
    return "" if turn.clear_ms is None else f", {turn.clear_ms:.0f} ms to clear"


def wrongs(results: Sequence[CallResult]) -> tuple[str, ...]:
    """All that was wrong in the calls, one sentence each. A call that was refused is counted apart."""
    told = []
    for result in results:
        told += [f"call {result.number}: “{turn.said}”: {turn.reason}" for turn in result.turns if turn.reason]
        told += [f"call {result.number}: {result.failure}"] if result.failure else []
    return tuple(told)
