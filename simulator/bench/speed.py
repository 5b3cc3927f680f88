"""How fast the system's core is while a level runs: CPU seconds of another machine, or of another moment, tell nothing.

A process of its own does a little work of a kind that the services do (Python's interpreter, msgpack) four times a
second, on the same core, and tells how much CPU time it took: `python -m simulator.bench.speed`.
"""

import asyncio
import contextlib
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import msgpack

from simulator.bench.watch import within

ROUNDS = 700_000
"""Of the work that is called a calibration: about a second on a quiet machine."""
_AT_ONCE = 2_000
_PAUSE_S = 0.25
_FRAME = b"\xff" * 320


def calibrate(rounds: int) -> float:
    """CPU seconds of a calibration, as `rounds` of it are done now."""
    began = time.process_time()
    counts: dict[int, int] = {}
    for sequence in range(rounds):
        fields = msgpack.unpackb(msgpack.packb((1, sequence, sequence * 20, _FRAME)))
        text = f'{{"event":"media","sequence":"{fields[1]}","timestamp":"{fields[2]}"}}'
        for place in range(0, len(text), 8):
            key = ord(text[place])
            counts[key] = counts.get(key, 0) + 1
    return (time.process_time() - began) * ROUNDS / rounds


class Speed:
    """What was measured until now."""

    def __init__(self) -> None:
        """Nothing."""
        self.seen: list[tuple[float, float]] = []
        """(when, CPU seconds of a calibration)."""

    def between(self, start: float, end: float) -> float:
        """CPU seconds of a calibration from `start` to `end`, on average; 0 when nothing was measured then."""
        inside = within(self.seen, start, end)
        return sum(inside) / len(inside) if inside else 0.0


async def _follow(process: Process, speed: Speed) -> None:
    while process.stdout is not None and (line := await process.stdout.readline()):
        speed.seen.append((time.monotonic(), float(line)))


@asynccontextmanager
async def measured(cores: Collection[int]) -> AsyncIterator[Speed]:
    """The speed of `cores` (none: of any), as long as this is open."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", __name__, stdout=PIPE)
    if cores and sys.platform == "linux":
        os.sched_setaffinity(process.pid, cores)
    speed = Speed()

    following = asyncio.create_task(_follow(process, speed))
    try:
        yield speed
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        await following


def main() -> None:
    """Tell until nobody listens."""
    with contextlib.suppress(BrokenPipeError):
        while True:
            time.sleep(_PAUSE_S)
            sys.stdout.write(f"{calibrate(_AT_ONCE)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
