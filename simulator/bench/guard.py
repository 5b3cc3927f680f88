"""Guards the cost of a call against creeping up: a short level, measured in units of this machine's speed.

The level's CPU per call-minute divided by that of a calibration (simulator/bench/speed.py) on the same core in the same
minute is compared with what was recorded.
"""

from pydantic import BaseModel, ConfigDict, Field

CALLS, TURNS = 10, 2
WARN_ABOVE = 1.3
"""Times the recorded ratio."""


class Baseline(BaseModel):
    """What was recorded, or is to be compared with it."""

    model_config = ConfigDict(frozen=True)

    ratio: float = Field(gt=0)
    """cpu_s_per_call_minute / calibration_s."""
    cpu_s_per_call_minute: float
    calibration_s: float


def measured(cpu_s_per_call_minute: float, calibration_s: float) -> Baseline:
    """The figures of a run. Raises ValueError when nothing was measured."""
    return Baseline(
        ratio=cpu_s_per_call_minute / calibration_s if calibration_s else 0.0,
        cpu_s_per_call_minute=cpu_s_per_call_minute,
        calibration_s=calibration_s,
    )


def compared(now: Baseline, recorded: Baseline) -> str:
    """One line for people."""
    times = now.ratio / recorded.ratio
    told = (
        f"a call-minute costs {now.cpu_s_per_call_minute:.2f} CPU-s, {now.ratio:.2f} calibrations: "
        f"{times:.2f} times the recorded {recorded.ratio:.2f}"
    )
    return f"WARNING: {told}" if times > WARN_ABOVE else told


def written(baseline: Baseline) -> dict[str, float]:
    """As the file has it."""
    return {name: round(value, 4) for name, value in baseline.model_dump().items()}
