"""One provider's circuit breaker, without a clock or a network: closed, open, half-open, closed.

Closed: the provider is asked. Open: nobody asks it. Half-open: a few ask, to see whether it is back.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Phase = Literal["closed", "half-open", "open"]


@dataclass(frozen=True, slots=True)
class Limits:
    """When a breaker changes."""

    failures: int
    """In a row, that open it."""
    open_s: float
    successes: int
    """In a row, that close it when it is half-open."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of one request to the provider."""

    at: float
    """Unix seconds."""
    failure: str = ""
    """Why it failed, in a word; empty: it did not."""


class Breaker(BaseModel):
    """The breaker's state as the fleet shares it. A change makes another one."""

    model_config = ConfigDict(frozen=True)

    state: Phase = "closed"
    """As last written: time alone turns `open` into `half-open`, see `phase`."""
    failures: int = Field(default=0, ge=0)
    """In a row, while closed."""
    successes: int = Field(default=0, ge=0)
    """In a row, while half-open."""
    opened_at: float = 0.0
    """Unix seconds on the clock of the host that opened it."""
    reason: str = ""
    """The latest failure, in a word."""

    def phase(self, limits: Limits, now: float) -> Phase:
        """Where the breaker stands at `now` (Unix seconds)."""
        # Absolute: an opening in a far future is one of a host whose clock is wrong, and nothing to wait for.
        if self.state == "open" and abs(now - self.opened_at) >= limits.open_s:
            return "half-open"
        return self.state

    def after(self, outcome: Outcome, limits: Limits) -> "Breaker":
        """The breaker once `outcome` is known; this one when it changes nothing."""
        phase = self.phase(limits, outcome.at)
        if phase == "open":
            # Of a request that was under way when the breaker opened.
            return self
        if outcome.failure:
            return self._failed(outcome, phase, limits)
        return self._succeeded(phase, limits)

    def _failed(self, outcome: Outcome, phase: Phase, limits: Limits) -> "Breaker":
        failures = self.failures + 1
        if phase == "closed" and failures < limits.failures:
            return self.model_copy(update={"failures": failures, "reason": outcome.failure})
        return Breaker(state="open", failures=failures, opened_at=outcome.at, reason=outcome.failure)

    def _succeeded(self, phase: Phase, limits: Limits) -> "Breaker":
        if phase == "closed":
            return self if self.failures == 0 else Breaker()
        successes = self.successes + 1
        if successes >= limits.successes:
            return Breaker()
        return self.model_copy(update={"state": "half-open", "successes": successes})


def after_all(breaker: Breaker, outcomes: Iterable[Outcome], limits: Limits) -> Breaker:
    """`breaker` after one outcome and then the next."""
    for outcome in outcomes:
        breaker = breaker.after(outcome, limits)
    return breaker
