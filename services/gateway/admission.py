"""What a caller meets when every worker is full: a sentence, a place in the queue, or another number."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog
from prometheus_client import Counter, Gauge

from services.gateway.waiting import WaitingList
from shared.bus import Bucket, Bus, WrongRevision
from shared.metrics import from_zero
from shared.roster import Roster
from shared.settings import Settings

log = structlog.get_logger()

BUCKET = "waiting"
_KEY = "list"
_TTL_S = 60.0
_TRIES = 20
"""Callers who ask at the same moment write one key."""

_FULL = "full"
REFUSED = from_zero(Counter("trunkline_calls_refused_total", "Calls that were not taken", ["reason"]), [_FULL])
_WAITING = Gauge("trunkline_waiting", "Callers in the fleet's queue, as this gateway last saw it")


@dataclass(frozen=True, slots=True)
class Busy:
    """Say that all lines are busy, and hang up."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait, and ask again soon."""

    position: int
    """Counted from 1."""
    greet: bool
    """The caller hears for the first time that there is a queue."""
    tell: bool
    """The caller has not yet heard this position."""


@dataclass(frozen=True, slots=True)
class SendOn:
    """Connect the caller with another number."""

    number: str
    """E.164."""


Meets = Busy | Wait | SendOn


class Admission:
    """Decides who may ask for workers, and what the others meet."""

    def __init__(
        self,
        bucket: Bucket,
        settings: Settings,
        stages: Callable[[str], Sequence[str]],
        free: Callable[[Sequence[str]], int],
        now: Callable[[], float] = time.time,
    ) -> None:
        """Use `open`."""
        self._bucket = bucket
        self._settings = settings
        self._stages = stages
        self._free = free
        self._now = now
        self._seen = WaitingList()
        _WAITING.set_function(lambda: len(self._seen.present(self._now()).waiters))

    @classmethod
    async def open(
        cls, bus: Bus, settings: Settings, stages: Callable[[str], Sequence[str]], free: Callable[[Sequence[str]], int]
    ) -> "Admission":
        """`stages` gives those that a dialled number needs, `free` how many more calls they can take.

        Raises BusError.
        """
        return cls(await bus.bucket(BUCKET, _TTL_S), settings, stages, free)

    @property
    def _queues(self) -> bool:
        return self._settings.busy_action == "queue"

    async def waits(self, call_id: str) -> bool:
        """Whether the call has a place in the queue. Raises BusError."""
        return self._queues and (await self._read()).get(call_id) is not None

    async def may_try(self, call_id: str, dialled: str) -> bool:
        """Whether the call may ask for workers: nobody overtakes those who wait. Raises BusError."""
        if not self._queues:
            return True
        stages = self._stages(dialled)
        return (await self._read()).may_try(call_id, _pipeline(stages), self._free(stages))

    async def full(self, call_id: str, dialled: str) -> Meets:
        """The call cannot have workers now. Raises BusError."""
        action = self._settings.busy_action
        meets: Meets = SendOn(self._settings.busy_number) if action == "redirect" else Busy()
        if action == "queue":
            meets = await self._wait(call_id, dialled)
        if not isinstance(meets, Wait):
            log.info("call_refused", call_id=call_id, reason=_FULL, action=action)
            REFUSED.labels(_FULL).inc()
        return meets

    async def _wait(self, call_id: str, dialled: str) -> Meets:
        asked = partial(self._asked, call_id, _pipeline(self._stages(dialled)))
        before, after = await self._change(asked)
        waiter = after.get(call_id)
        if waiter is None:
            return Busy()
        known = before.get(call_id)
        if known is None:
            log.info("call_waits", call_id=call_id, position=waiter.told)
        return Wait(waiter.told, greet=known is None, tell=known is None or known.told != waiter.told)

    def _asked(self, call_id: str, pipeline: str, waiting: WaitingList) -> WaitingList:
        """The list after the call has asked; without the call when it may not wait, or not any longer."""
        now = self._now()
        waiter = waiting.get(call_id)
        full = len(waiting.waiters) >= self._settings.queue_limit
        if full if waiter is None else now - waiter.joined_at > self._settings.queue_wait_s:
            return waiting.without(call_id)
        return waiting.seen(call_id, pipeline, now).tell(call_id)

    async def left(self, call_id: str) -> None:
        """The call was connected, or the caller hung up. Raises BusError."""
        if self._queues and (await self._read()).get(call_id) is not None:
            await self._change(lambda waiting: waiting.without(call_id))

    async def _read(self) -> WaitingList:
        return self._parse(await self._bucket.get(_KEY))

    def _parse(self, entry: tuple[bytes, int] | None) -> WaitingList:
        stored = WaitingList() if entry is None else WaitingList.model_validate_json(entry[0])
        self._seen = stored.present(self._now())
        return self._seen

    async def _change(self, change: Callable[[WaitingList], WaitingList]) -> tuple[WaitingList, WaitingList]:
        """Compare-and-set: the list before and after. `change` may run more than once: it must be pure."""
        for _ in range(_TRIES):
            entry = await self._bucket.get(_KEY)
            before = self._parse(entry)
            after = change(before)
            try:
                if entry is None:
                    await self._bucket.create(_KEY, after.model_dump_json().encode())
                else:
                    await self._bucket.update(_KEY, after.model_dump_json().encode(), entry[1])
            except WrongRevision:
                continue
            self._seen = after
            return before, after
        raise WrongRevision(_KEY)


def _pipeline(stages: Sequence[str]) -> str:
    return "+".join(sorted(stages))


def free_places(roster: Roster, stages: Sequence[str]) -> int:
    """How many more calls the workers of all `stages` can take, as their heartbeats tell."""
    return min((_free(roster, stage) for stage in stages), default=0)


def _free(roster: Roster, stage: str) -> int:
    beats = [beat for beat in roster.alive(stage) if not beat.draining and not beat.shedding]
    return sum(max(0, beat.capacity - beat.calls) for beat in beats)
