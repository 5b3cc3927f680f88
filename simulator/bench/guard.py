"""Guards the cost of a call against creeping up: a short level, measured in units of this machine's speed.

CPU seconds of another machine tell nothing. A calibration of the same kind of work (Python's interpreter, msgpack)
runs beside the level; the level's CPU per call-minute divided by the calibration's CPU time is compared with what was
recorded.
"""

import time

import msgpack
from pydantic import BaseModel, ConfigDict, Field

CALLS, TURNS = 10, 2
WARN_ABOVE = 1.3
"""Times the recorded ratio."""
_ROUNDS = 700_000
_FRAME = b"\xff" * 320


class Baseline(BaseModel):
    """What was recorded, or is to be compared with it."""

    model_config = ConfigDict(frozen=True)

    ratio: float = Field(gt=0)
    """cpu_s_per_call_minute / calibration_s."""
    cpu_s_per_call_minute: float
    calibration_s: float


def calibrate(rounds: int = _ROUNDS) -> float:
    """CPU seconds of a fixed amount of work: about one."""
    began = time.process_time()
    counts: dict[int, int] = {}
    for sequence in range(rounds):
        fields = msgpack.unpackb(msgpack.packb((1, sequence, sequence * 20, _FRAME)))
        text = f'{{"event":"media","sequence":"{fields[1]}","timestamp":"{fields[2]}"}}'
        for place in range(0, len(text), 8):
            key = ord(text[place])
            counts[key] = counts.get(key, 0) + 1
    return time.process_time() - began


def measured(cpu_s_per_call_minute: float, calibrations_s: list[float]) -> Baseline:
    """The figures of a run; `calibrations_s` are of before and after it. Raises ValueError when it cost nothing."""
    calibration_s = sum(calibrations_s) / len(calibrations_s)
    return Baseline(
        ratio=cpu_s_per_call_minute / calibration_s,
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
