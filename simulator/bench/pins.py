"""Which cores the system under test and the load side may use: `system=0,load=1`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_FORMAT = "system=CORES,load=CORES with CORES as in 0 or 0+2, or none"


class WrongPins(ValueError):
    """The cores cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Pins:
    """Core numbers of the operating system; empty: any."""

    system: frozenset[int] = frozenset()
    """nats-server and the services."""
    load: frozenset[int] = frozenset()
    """The callers and the stand-ins."""

    def __str__(self) -> str:
        """As it is written on the command line."""
        parts = {"system": self.system, "load": self.load}
        told = [f"{name}={'+'.join(map(str, sorted(cores)))}" for name, cores in parts.items() if cores]
        return ",".join(told) or "none"


def parse(text: str) -> Pins:
    """`system=0,load=1`, several cores as in `0+2`, or `none`. Raises WrongPins."""
    if text == "none":
        return Pins()
    parts: dict[str, frozenset[int]] = {}
    for pair in text.split(","):
        name, _, numbers = pair.partition("=")
        cores = numbers.split("+")
        if name not in ("system", "load") or name in parts or not all(core.isdecimal() for core in cores):
            raise WrongPins(f"{text}: {_FORMAT} expected")
        parts[name] = frozenset(map(int, cores))
    return Pins(**parts)


def usable() -> frozenset[int] | None:
    """The cores that this process may use; None where processes cannot be pinned."""
    return frozenset(os.sched_getaffinity(0)) if sys.platform == "linux" else None


def check(pins: Pins, cores: frozenset[int] | None) -> None:
    """Whether `pins` can be had of `cores`, as `usable` tells them. Raises WrongPins."""
    wanted = pins.system | pins.load
    if wanted and cores is None:
        raise WrongPins(f"{pins}: processes can be pinned on Linux only, use none")
    if cores is not None and (missing := wanted - cores):
        has = ", ".join(map(str, sorted(cores)))
        raise WrongPins(f"{pins}: no core {', '.join(map(str, sorted(missing)))} here, only {has}; none pins nothing")


@contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """Keep this thread, and what it starts, on `cores` meanwhile; none: wherever it is."""
    if not cores or sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
