"""Which stages of a call must be leased again, and why. Decides; does nothing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from services.gateway.calls import Lease
from services.gateway.knocking import Misses
from shared.roster import DEAD_AFTER_S, Roster

Reason = Literal["lost", "gone", "draining", "failed", "gap"]
"""`lost`: no heartbeat. `gone`: the broker knows it no more. `failed`: it cannot go on with this call.
`gap`: messages between it and this gateway may have been lost."""

DRAIN_WITHIN_S = 6.0
"""A worker that drains keeps a call for so long, in case that a quiet moment comes."""
_PUT_OFF_S = 1.0


@dataclass(slots=True)
class Held:
    """A stage's lease as the gateway of the open line watches it. Times are on the roster's clock."""

    lease: Lease
    taken_at: float
    own_gaps: int
    """How often this gateway had lost the broker when the lease was asked for."""
    gaps: int | None = None
    """How often the worker had; None: not known yet."""
    failed_at: float | None = None
    drains_since: float | None = None
    drain_from: float = 0.0
    """Nobody could take the call over; not tried again before then."""


class Judge:
    """Says what is lost, from heartbeats, knocks and the stages' own words."""

    def __init__(
        self,
        roster: Roster,
        misses: Misses,
        own: str,
        own_gaps: Callable[[], int],
    ) -> None:
        """`own` is this gateway's id, `own_gaps` how often it has lost the broker."""
        self._roster = roster
        self._misses = misses
        self._own = own
        self._own_gaps = own_gaps

    def hold(self, lease: Lease, own_gaps: int) -> Held:
        """Watch a lease that was taken now."""
        return Held(lease, self._roster.now(), own_gaps, lease.gaps)

    def fail(self, held: Held) -> None:
        """The stage says that it cannot go on with the call."""
        held.failed_at = self._roster.now()

    def put_off(self, held: Held) -> None:
        """Nobody else takes the call: the worker that drains keeps it for a while."""
        held.drain_from = self._roster.now() + _PUT_OFF_S

    def sound(self, workers: Iterable[str]) -> dict[str, int]:
        """Those of `workers` that surely live and do not drain, with how often each has lost the broker."""
        judges, sound = self._roster.judges(), {}
        for worker in workers:
            beat = self._roster.last(worker)
            lost = judges and (self._gone(worker) or self._roster.dead(worker))
            if beat is not None and not beat.draining and not lost:
                sound[worker] = beat.gaps
        return sound

    def at_ease(self, held: Held, sound: dict[str, int]) -> bool:
        """Whether `reason` would find none, told at once by what `sound` has found; not all that are, are found."""
        gaps = sound.get(held.lease.worker)
        known = gaps is not None and held.gaps is not None and gaps <= held.gaps
        return known and held.failed_at is None and self._own_gaps() <= held.own_gaps

    def reason(self, held: Held, quiet: Callable[[], bool]) -> Reason | None:
        """Why the stage must be leased again; `quiet` tells whether nobody would notice it now."""
        worker = held.lease.worker
        if held.failed_at is not None:
            return "failed"
        if self._roster.judges():
            if self._gone(worker):
                return "gone"
            if self._dead(held):
                return "lost"
        if self._own_gaps() > held.own_gaps or self._missed_something(held):
            return "gap"
        return "draining" if self._drained(held, quiet) else None

    def unfit(self, lease: Lease) -> bool:
        """Whether a call whose line is about to open had better get another worker."""
        beat = self._roster.last(lease.worker)
        if beat is not None and beat.draining:
            return True
        if not self._roster.judges():
            return False
        return self._roster.suspect(lease.worker) or self._gone(lease.worker)

    def unsure_s(self, held: Held, reason: Reason) -> float:
        """How many seconds ago the worker was last known to do its work."""
        now = self._roster.now()
        if reason == "failed" and held.failed_at is not None:
            return now - held.failed_at
        if reason == "draining":
            return 0.0
        if self._roster.last(held.lease.worker) is None:
            return now - held.taken_at
        unsure_s = self._roster.unsure_s(held.lease.worker, held.gaps or 0)
        if reason == "gap" and self._own_gaps() > held.own_gaps:
            unsure_s = max(unsure_s, self._roster.unsure_s(self._own, held.own_gaps))
        return unsure_s

    def _gone(self, worker: str) -> bool:
        """Nobody answers there, and nothing was heard since."""
        since = self._misses.gone_since(worker)
        silent_s = self._roster.silent_s(worker)
        return since is not None and (silent_s is None or self._roster.now() - silent_s <= since)

    def _dead(self, held: Held) -> bool:
        if self._roster.last(held.lease.worker) is None:
            return self._roster.now() - held.taken_at > DEAD_AFTER_S
        return self._roster.dead(held.lease.worker)

    def _missed_something(self, held: Held) -> bool:
        beat = self._roster.last(held.lease.worker)
        silent_s = self._roster.silent_s(held.lease.worker)
        if beat is None or silent_s is None:
            return False
        if held.gaps is None:
            if self._roster.now() - silent_s > held.taken_at:
                held.gaps = beat.gaps
            return False
        return beat.gaps > held.gaps

    def _drained(self, held: Held, quiet: Callable[[], bool]) -> bool:
        """Whether the worker drains, another one could go on, and the moment is good, or late enough."""
        now = self._roster.now()
        beat = self._roster.last(held.lease.worker)
        if beat is None or not beat.draining or now < held.drain_from or not self._roster.ready(beat.stage):
            return False
        if held.drains_since is None:
            held.drains_since = now
        return now - held.drains_since >= DRAIN_WITHIN_S or quiet()
