"""Who lives: the workers whose heartbeats were heard."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from pydantic import ValidationError

from shared import subjects
from shared.bus import Bus
from shared.messages.worker import Heartbeat

log = structlog.get_logger()

DEAD_AFTER_S = 1.2
"""Workers beat every 0.25 s; four missed beats and some jitter mean dead …"""
SUSPECT_AFTER_S = 0.6
"""A worker that has been silent for longer might hang: nothing is asked of it, but what it holds stays there …"""
_DEAD_AFTER_PAUSES = 3.0
_SUSPECT_AFTER_PAUSES = 1.5
"""… unless its beats have been late before: then so many times its longest pause of late. Full machines are slow."""
_LONGEST_PAUSE_S = 1.5
"""What is longer was no slowness."""
_FADES = 0.95
"""How much of a long pause is remembered from beat to beat: half of it after 3.5 s."""


@dataclass(slots=True)
class Seen:
    """A worker's last heartbeat. Times are on the roster's clock."""

    beat: Heartbeat
    at: float
    sure_until: float
    """When it was last heard before its `gaps` grew; 0: they never did."""
    gone: bool = False
    """The broker has said since that nobody of this name is connected."""
    pause_s: float = 0.0
    """The longest pause between its beats of late."""
    leased: int = 0
    """Leases that it has taken since."""

    @property
    def dead_at(self) -> float:
        """When it counts as dead, if nothing is heard."""
        return self.at + max(DEAD_AFTER_S, _DEAD_AFTER_PAUSES * self.pause_s)

    @property
    def suspect_at(self) -> float:
        """When it might hang, if nothing is heard."""
        return self.at + max(SUSPECT_AFTER_S, _SUSPECT_AFTER_PAUSES * self.pause_s)


class Roster:
    """All workers by id, fed by their heartbeats."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, own: str = "") -> None:
        """Empty until `listen`. `own` is the id under which this process itself beats, for `judges`."""
        self._clock = clock
        self._own = own
        self._own_since: float | None = None
        """Since when the own beats have come back without a break."""
        self._seen: dict[str, Seen] = {}

    async def listen(self, bus: Bus, stage: str = "*") -> None:
        """Hear the heartbeats of every worker of `stage` from now on, or of all stages."""
        await bus.subscribe(subjects.heartbeat(stage, "*"), self._receive)

    async def _receive(self, subject: str, payload: bytes) -> None:
        try:
            self.note(Heartbeat.model_validate_json(payload))
        except ValidationError:
            log.warning("heartbeat_dropped", subject=subject)

    def note(self, beat: Heartbeat) -> None:
        """A heartbeat was heard now."""
        now = self._clock()
        before = self._seen.get(beat.worker)
        sure_until = pause_s = 0.0
        if before is not None:
            sure_until = before.at if beat.gaps > before.beat.gaps else before.sure_until
            pause_s = max(_FADES * before.pause_s, min(now - before.at, _LONGEST_PAUSE_S))
        if beat.worker == self._own and (before is None or now - before.at > SUSPECT_AFTER_S):
            self._own_since = now
        self._seen[beat.worker] = Seen(beat, now, sure_until, pause_s=pause_s)

    def now(self) -> float:
        """The time on the roster's clock, in seconds."""
        return self._clock()

    def judges(self) -> bool:
        """Whether the silence of others means something: the own beats have come back for long enough.

        Else the broker is away, or this process itself was held up.
        """
        if not self._own:
            return True
        silent = self.silent_s(self._own)
        if silent is None or self._own_since is None or silent > SUSPECT_AFTER_S:
            return False
        return self._clock() - self._own_since >= DEAD_AFTER_S

    def last(self, worker: str) -> Heartbeat | None:
        """The last heartbeat of `worker`."""
        seen = self._seen.get(worker)
        return None if seen is None else seen.beat

    def silent_s(self, worker: str) -> float | None:
        """For how long `worker` has said nothing; None when it was never heard or was forgotten."""
        seen = self._seen.get(worker)
        return None if seen is None else self._clock() - seen.at

    def dead(self, worker: str) -> bool:
        """Whether `worker`, which was heard once, has been silent for too long."""
        seen = self._seen.get(worker)
        return seen is not None and self._clock() > seen.dead_at

    def suspect(self, worker: str) -> bool:
        """Whether `worker` might hang, or was never heard."""
        seen = self._seen.get(worker)
        return seen is None or self._suspect(seen)

    def _suspect(self, seen: Seen) -> bool:
        return self._clock() > seen.suspect_at

    def unsure_s(self, worker: str, gaps: int) -> float:
        """How long ago `worker` was last known to hear everything; `gaps` are those that it had before."""
        seen = self._seen.get(worker)
        if seen is None:
            return 0.0
        return self._clock() - (seen.sure_until if seen.beat.gaps > gaps and seen.sure_until else seen.at)

    def alive(self, stage: str) -> list[Heartbeat]:
        """The last heartbeats of the stage's workers that live."""
        now = self._clock()
        return [
            seen.beat
            for seen in self._seen.values()
            if seen.beat.stage == stage and now <= seen.dead_at and not seen.gone
        ]

    def suspects(self, stage: str) -> list[str]:
        """The stage's workers that might hang, and be asked by the broker all the same."""
        return [
            seen.beat.worker
            for seen in self._seen.values()
            if seen.beat.stage == stage and self._suspect(seen) and not seen.gone and not seen.beat.draining
        ]

    def ready(self, stage: str) -> list[str]:
        """The stage's workers that surely live and take calls, the least loaded first."""
        ready = [
            seen
            for seen in self._seen.values()
            if seen.beat.stage == stage and not (self._suspect(seen) or seen.gone or seen.beat.draining)
        ]
        # Many gateways see the same loads: of equals each takes another.
        random.shuffle(ready)
        ready.sort(key=lambda seen: (seen.beat.shedding, (seen.beat.calls + seen.leased) / max(1, seen.beat.capacity)))
        return [seen.beat.worker for seen in ready]

    def leased(self, worker: str) -> None:
        """`worker` has taken a call that its last heartbeat does not count."""
        if worker in self._seen:
            self._seen[worker].leased += 1

    def gone(self, worker: str) -> None:
        """The broker says that `worker` is not connected; true until it is heard again."""
        if worker in self._seen:
            self._seen[worker].gone = True

    def forget(self, older_than_s: float) -> list[str]:
        """Drop, and return, the workers that were silent for longer than `older_than_s`."""
        oldest = self._clock() - older_than_s
        gone = [worker for worker, seen in self._seen.items() if seen.at < oldest]
        for worker in gone:
            del self._seen[worker]
        return gone
