"""Draws the levels: what the platform adds, and what a call costs, against the calls at the same time."""

from collections.abc import Sequence
from pathlib import Path

from simulator.bench.result import GOOD_P95_MS, LevelResult

FORMATS = (".svg", ".png")
_PERCENTILES = ((50, "#2b7a3d"), (95, "#c47f12"), (99, "#a8322d"))
_SIZE_IN = (7.0, 6.5)


def draw(levels: Sequence[LevelResult], per_core: int | None, path: Path) -> None:
    """Write the picture to `path`, .svg or .png. Raises ImportError without matplotlib, and OSError."""
    # Imported here: matplotlib comes with requirements/dev.txt, and takes a second to load.
    from matplotlib.figure import Figure

    ordered = sorted((level for level in levels if level.added_ms), key=lambda level: level.calls)
    calls = [level.calls for level in ordered]
    figure = Figure(figsize=_SIZE_IN, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for percent, colour in _PERCENTILES:
        values = [level.added(percent) or 0.0 for level in ordered]
        above.plot(calls, values, marker="o", color=colour, label=f"p{percent}")
    above.axhline(GOOD_P95_MS, color="grey", linestyle=":", linewidth=1)
    above.set_ylabel("added to a response, ms")
    below.plot(calls, [level.cost_sum for level in ordered], marker="o", color="#2b5f8a", label="all processes")
    below.set_ylabel("CPU seconds per call-minute")
    below.set_xlabel("calls at the same time")
    below.set_xlim(0, 1.05 * max(calls, default=1))
    for axes in (above, below):
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.grid(alpha=0.3)
        if per_core:
            axes.axvline(per_core, color="black", linestyle="--", linewidth=1, label=f"{per_core} calls per core")
        axes.legend()
    figure.savefig(path)
