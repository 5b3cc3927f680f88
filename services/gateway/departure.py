"""How a gateway leaves: its lines end, or close between two sentences and another gateway goes on with the calls."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog

log = structlog.get_logger()

QUIET_WITHIN_S = 8.0
"""How long a line may wait for a moment when neither side speaks …"""
SILENT_WITHIN_S = 3.0
"""… and then for one when at least the caller does not: what he says while no socket is open is lost."""
_TICK_S = 0.05
_SPEAKS = "llm"
"""When the dialogue is quiet, neither the agent's reply is under way nor the caller speaks."""
_HEARS = "stt"
"""When the recogniser is quiet, the caller does not speak."""
_AT_ONCE = 10
"""Lines closed with one tick: the other gateways answer their redials side by side with their own calls."""
_CLOSED_WITHIN_S = 5.0
"""How long a carrier may take to close its side."""
_LOOK_EVERY_S = 0.25


class Leavable(Protocol):
    """What a departure asks of a line."""

    def quiet(self, stage: str) -> bool:
        """Whether `stage` can change hands now and nobody notices."""

    def close(self, end: Literal["drained"]) -> None:
        """Close the line now; the first reason given counts."""


class OpenLine(Protocol):
    """A line that is open."""

    @property
    def line(self) -> Leavable:
        """The line itself."""


class OpenLines(Protocol):
    """The lines that are open at this gateway."""

    idle: asyncio.Event

    def __len__(self) -> int: ...

    def all(self) -> Sequence[OpenLine]:
        """Those that are open now."""


class Endings(Protocol):
    """Ends that are waited for."""

    def stop(self) -> None:
        """Nothing more is waited for."""


class Leaver(Protocol):
    """What leaves: the switchboard."""

    draining: bool

    @property
    def endings(self) -> Endings:
        """The ends of its calls."""

    @property
    def lines(self) -> OpenLines:
        """Its open lines."""


async def _nobody() -> None:
    return


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is around a gateway that leaves; the default is a gateway alone in the world."""

    others: Callable[[], bool] = lambda: False
    """Whether another gateway takes calls."""
    stop_listening: Callable[[], None] = lambda: None
    """Accept no more connections; those that are open stay open."""
    tell: Callable[[], Awaitable[None]] = _nobody
    """Let the others know at once that this gateway leaves."""
    clock: Callable[[], float] = time.monotonic


async def leave(leaver: Leaver, timeout_s: float, around: Surroundings | None = None) -> None:
    """Return when no line is open.

    As soon as another gateway takes calls, nothing more is accepted and the lines close between two sentences. Without
    one this gateway goes on answering, for `timeout_s` at most; then it closes what is left.
    """
    around = around or Surroundings()
    leaver.draining = True
    await around.tell()
    deadline = around.clock() + timeout_s
    while not leaver.lines.idle.is_set() and not around.others() and around.clock() < deadline:
        await _idle(leaver.lines, min(_LOOK_EVERY_S, deadline - around.clock()))
    around.stop_listening()
    if len(leaver.lines):
        if around.others():
            log.info("calls_handed_over", calls=len(leaver.lines))
        else:
            log.warning("drain_timed_out", calls=len(leaver.lines))
    await hand_over(leaver.lines, QUIET_WITHIN_S if around.others() else 0.0, around.clock)
    leaver.endings.stop()


async def hand_over(lines: OpenLines, quiet_within_s: float, clock: Callable[[], float] = time.monotonic) -> None:
    """Close each line at a quiet moment, a few at a time; 0: all at once."""
    quiet_until = clock() + quiet_within_s
    deadline = quiet_until + (SILENT_WITHIN_S if quiet_within_s else 0.0)
    closed: set[int] = set()
    while not lines.idle.is_set():
        left = [opened.line for opened in lines.all() if id(opened.line) not in closed]
        late = clock() >= deadline
        asked = _SPEAKS if clock() < quiet_until else _HEARS
        if not left and clock() >= deadline + _CLOSED_WITHIN_S:
            log.warning("carriers_keep_their_sockets", calls=len(lines))
            return
        for line in [line for line in left if late or line.quiet(asked)][:_AT_ONCE]:
            line.close("drained")
            closed.add(id(line))
        await _idle(lines, _TICK_S)


async def _idle(lines: OpenLines, timeout_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(lines.idle.wait(), timeout_s)
