"""The result of all levels, for people, for the documentation and for machines. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from simulator.bench.cost import SYSTEM, total
from simulator.bench.result import LevelResult
from simulator.commands.report import percentile

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
"""What the tables of a document stand between."""
MAIN = (
    "calls", "answered", "right", "added ms p50 / p95 / p99", "to clear ms p50 / p95", "gaps", "refused",
    "CPU-s per call-minute", "MB per call", "messages/s", "MB/s", "load core", "load late ms p99",
)  # fmt: skip
COST = ("calls", *(f"CPU {name}" for name in SYSTEM), *(f"MB {name}" for name in SYSTEM))
LAG = (
    "calls",
    *(f"lag ms p50 / p99 {name}" for name in SYSTEM if name != "nats"),
    "callers",
    "stand-ins",
    "calibration s",
)
Rows = list[tuple[str, ...]]


def _spread(values: Sequence[float], percents: Sequence[int]) -> str:
    return " / ".join(f"{percentile(values, percent):.0f}" for percent in percents) if values else "-"


def main_row(level: LevelResult) -> tuple[str, ...]:
    """The level's line of the first table."""
    return (
        str(level.calls),
        f"{level.answered}/{level.turns}",
        f"{level.right}/{level.turns}",
        _spread(level.added_ms, (50, 95, 99)),
        _spread(level.clear_ms, (50, 95)),
        str(level.gaps),
        str(level.refused),
        f"{level.cost_sum:.2f}",
        f"{total(level.memory):.1f}",
        f"{level.messages_s:.0f}",
        f"{level.traffic_mb_s:.1f}",
        f"{level.load.share:.0%}",
        f"{level.load.late_p99_ms:.0f}",
    )


def _cost_row(level: LevelResult) -> tuple[str, ...]:
    cpu = [f"{level.cost.get(name, 0.0):.3f}" for name in SYSTEM]
    return (str(level.calls), *cpu, *(f"{level.memory.get(name, 0.0):.2f}" for name in SYSTEM))


def _lag_row(level: LevelResult) -> tuple[str, ...]:
    pairs = [level.lag_ms.get(name) for name in SYSTEM if name != "nats"]
    lags = ("-" if pair is None else f"{pair[0]:.0f} / {pair[1]:.0f}" for pair in pairs)
    return (
        str(level.calls),
        *lags,
        f"{level.load.callers:.0%}",
        f"{level.load.standins:.0%}",
        f"{level.calibration_s:.2f}",
    )


def tables(levels: Sequence[LevelResult]) -> list[Rows]:
    """The tables, each with its head: latency, cost by process, lag by process and the load side's shares."""
    return [
        [MAIN, *(main_row(level) for level in levels)],
        [COST, *(_cost_row(level) for level in levels)],
        [LAG, *(_lag_row(level) for level in levels)],
    ]


def text(levels: Sequence[LevelResult]) -> Iterator[str]:
    """The tables for a terminal, an empty line between them."""
    for place, rows in enumerate(tables(levels)):
        if place:
            yield ""
        widths = [max(len(line[column]) for line in rows) for column in range(len(rows[0]))]
        for line in rows:
            yield "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))


def markdown(levels: Sequence[LevelResult], per_core: int | None) -> Iterator[str]:
    """The same for a document."""
    for rows in tables(levels):
        head, *lines = rows
        for cells in (head, tuple("---:" for _ in head), *lines):
            yield f"| {' | '.join(cells)} |"
        yield ""
    yield from remarks(levels, per_core)


def placed(document: str, lines: Sequence[str]) -> str:
    """`document` with `lines` between its two marks. Raises ValueError when it has none."""
    before, begin, rest = document.partition(BEGIN)
    _, end, behind = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} … {END} in it")
    return "\n".join([before + BEGIN, *lines, END + behind])


def remarks(levels: Sequence[LevelResult], per_core: int | None) -> Iterator[str]:
    """What else there is to tell, line by line; `per_core` is what a search has found, None: there was none."""
    for level in levels:
        if level.load.bottleneck:
            yield f"{level.calls} calls: the load side was the bottleneck: {level.load.bottleneck}"
        if level.beyond is not None:
            beyond = level.beyond
            told = f"{beyond.spoken_to} were told so in a sentence, {beyond.connected} were connected"
            yield f"{level.calls} calls: of {beyond.calls} more, {told}"
    if per_core is not None:
        limited = levels and any(level.calls > per_core and level.load.bottleneck for level in levels)
        yield f"calls per core: {per_core}{' at least: the load side set the limit' if limited else ''}"


def course(level: LevelResult) -> str:
    """How the memory of the whole system went while the level was held."""
    begin, middle, end = (f"{megabytes:.0f}" for megabytes in level.course)
    return f"{level.calls} calls for {level.window_s:.0f} s: {begin} MB at first, {middle} MB midway, {end} MB at last"


def machine(level: LevelResult) -> dict[str, object]:
    """One level as JSON."""
    return {
        "calls": level.calls,
        "good": level.good,
        "window_s": round(level.window_s, 1),
        "turns": level.turns,
        "answered": level.answered,
        "right": level.right,
        "wrong": list(level.wrong),
        "slowest": list(level.slowest),
        "added_ms": _percentiles(level.added_ms, (50, 95, 99)),
        "clear_ms": _percentiles(level.clear_ms, (50, 95)),
        "gaps": level.gaps,
        "refused": level.refused,
        "cpu_s_per_call_minute": {**_rounded(level.cost, 4), "sum": round(level.cost_sum, 4)},
        "mb_per_call": {**_rounded(level.memory, 3), "sum": round(total(level.memory), 3)},
        "mb_course": [round(megabytes, 1) for megabytes in level.course],
        "loop_lag_ms": {name: dict(zip(("p50", "p99"), pair, strict=True)) for name, pair in level.lag_ms.items()},
        "calibration_s": round(level.calibration_s, 4),
        "messages_s": round(level.messages_s),
        "traffic_mb_s": round(level.traffic_mb_s, 2),
        "load_side": {
            "core": round(level.load.share, 3),
            "late_ms_p99": round(level.load.late_p99_ms, 1),
            "callers": round(level.load.callers, 3),
            "standins": round(level.load.standins, 3),
            "bottleneck": level.load.bottleneck,
        },
        "beyond": None if level.beyond is None else {name: getattr(level.beyond, name) for name in _BEYOND},
    }


_BEYOND = ("calls", "spoken_to", "connected")


def _percentiles(values: Sequence[float], percents: Sequence[int]) -> dict[str, float]:
    return {f"p{percent}": round(percentile(values, percent), 1) for percent in percents} if values else {}


def _rounded(values: Mapping[str, float], digits: int) -> dict[str, float]:
    return {name: round(value, digits) for name, value in values.items()}
