"""Leases, on the gateway's side: finding a worker of each stage for a call."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, get_args

import structlog
from prometheus_client import Counter
from pydantic import ValidationError

from services.gateway.calls import CallRecord, Lease
from services.gateway.window import Overrun
from shared import subjects
from shared.agents import STAGES
from shared.bus import Bus, Disconnected, NoResponders, RequestTimeout
from shared.channel import CallChannel
from shared.messages import LeaseChanged
from shared.messages.lease import LeaseReply, LeaseRequest
from shared.metrics import from_zero
from shared.roster import Roster

log = structlog.get_logger()

_EPOCHS_OF_A_LINE = 1000
"""The gateway of the last line may have granted leases that it could not note any more: newer ones lie above them."""
_BUSY_TRIES = 10
EVERY_STAGE = tuple(chain.from_iterable(STAGES.values()))
"""All that calls are leased to, whatever their pipeline."""
_Silence = Literal["missing", "timeout"]
"""Why nobody has replied."""
OUTCOMES: tuple[str, ...] = (*get_args(LeaseReply.model_fields["state"].annotation), *get_args(_Silence))
_LEASES = from_zero(
    Counter("trunkline_leases_total", "Lease requests by outcome", ["stage", "outcome"]), EVERY_STAGE, OUTCOMES
)


class StageMissing(Exception):
    """No worker of a stage took the call."""

    def __init__(self, stage: str, reason: str, *, full: bool = False, epoch: int = 0) -> None:
        """`reason` says why, for the log; `full`: there are workers, and each has all the calls that it takes.

        `epoch` is the highest that was asked with: a worker that was too slow may still take it.
        """
        super().__init__(f"{stage}: {reason}")
        self.stage = stage
        self.reason = reason
        self.full = full
        self.epoch = epoch


class StageSlow(StageMissing, Overrun):
    """No worker took the call, and one that was asked did not answer in time."""


@dataclass(frozen=True, slots=True)
class Want:
    """A worker of `stage` is wanted for a call."""

    record: CallRecord
    stage: str
    above: int = 0
    """Leases up to this number were asked for."""
    first: str = ""
    """This worker is asked before all others."""
    avoid: Collection[str] = ()
    """These are asked when nobody else takes the call."""
    line: int = 0
    """The number of the open line, 0 when there is none."""
    line_opened_at: float = 0.0
    """Unix time in seconds of the beginning of the caller's timeline on that line."""


class _Search:
    """One search for one worker: each request has a number of its own, and the time is limited."""

    def __init__(self, want: Want, deadline: float) -> None:
        self.want = want
        self.deadline = deadline
        previous = want.record.leases.get(want.stage)
        self.epoch = max(want.above, previous.epoch if previous else 0)
        self.slow = False
        """Somebody did not answer in time."""

    def missing(self, reason: str, *, full: bool = False) -> StageMissing:
        """Nobody was found."""
        kind = StageSlow if self.slow else StageMissing
        return kind(self.want.stage, reason, full=full, epoch=self.epoch)


class LeaseDesk:
    """Asks for workers and gives them back."""

    def __init__(
        self,
        bus: Bus,
        gateway: str,
        timeout_s: float,
        roster: Roster | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout_s` is what one stage's worker may take to open a call."""
        self._bus = bus
        self._gateway = gateway
        self._timeout_s = timeout_s
        self._roster = roster or Roster()
        self._clock = clock

    async def take_all(self, record: CallRecord, stages: Sequence[str]) -> dict[str, Lease]:
        """Lease the call, which has no line, to one worker of each of `stages`, side by side.

        Raises StageMissing for the first stage without one; what the others gave is given back.
        """
        above = record.line * _EPOCHS_OF_A_LINE
        wants = [Want(record, stage, above=above, avoid=_holder(record, stage)) for stage in stages]
        results = await asyncio.gather(*(self.take(want) for want in wants), return_exceptions=True)
        leases = {stage: result for stage, result in zip(stages, results, strict=True) if isinstance(result, Lease)}
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            self.release(record, leases)
            # A stage that nobody can serve says more than one that is full.
            raise min(failures, key=lambda failure: isinstance(failure, StageMissing) and failure.full)
        return leases

    async def take(self, want: Want) -> Lease:
        """Lease one stage of a call. Raises StageMissing.

        The broker picks a worker unless one of them might hang, or shall be avoided: a hung worker is picked as
        well as any, and then nothing comes back.
        """
        search = _Search(want, self._clock() + self._timeout_s)
        if want.first and (lease := await self._ask_each(search, [want.first])):
            return lease
        avoided = set(want.avoid)
        search.deadline = self._clock() + self._timeout_s
        if not self._roster.suspects(want.stage) and not avoided.intersection(self._roster.ready(want.stage)):
            try:
                return await self._ask_any(search)
            except RequestTimeout as error:
                if not self._roster.suspects(want.stage):
                    raise search.missing(f"no worker was ready within {self._timeout_s} s") from error
                search.deadline = self._clock() + self._timeout_s
        ready = self._roster.ready(want.stage)
        lease = await self._ask_each(search, sorted(ready, key=avoided.__contains__))
        if lease is None:
            raise search.missing("no worker that surely lives has taken the call", full=bool(ready))
        return lease

    async def _ask_any(self, search: _Search) -> Lease:
        """Let the broker pick. Raises RequestTimeout, StageMissing."""
        stage = search.want.stage
        for _ in range(_BUSY_TRIES):
            try:
                reply = await self._ask(search, subjects.lease(stage), "")
            except NoResponders as error:
                full = any(not beat.draining for beat in self._roster.alive(stage))
                raise search.missing("no worker is there, or all are full", full=full) from error
            if lease := await self._granted(search, reply):
                return lease
            if self._clock() >= search.deadline:
                break
        raise search.missing("every worker is busy", full=True)

    async def _ask_each(self, search: _Search, workers: Iterable[str]) -> Lease | None:
        """Ask one after the other. Raises StageMissing when one refuses."""
        for worker in workers:
            try:
                reply = await self._ask(search, subjects.lease_of(search.want.stage, worker), worker)
            except (NoResponders, RequestTimeout):
                if self._clock() >= search.deadline:
                    return None
                continue
            if lease := await self._granted(search, reply):
                return lease
        return None

    async def _granted(self, search: _Search, reply: LeaseReply) -> Lease | None:
        want = search.want
        _LEASES.labels(want.stage, reply.state).inc()
        if reply.state == "refused":
            raise search.missing(f"{reply.worker} refused the call: {reply.reason}")
        if reply.state == "busy":
            return None
        self._roster.leased(reply.worker)
        beat = self._roster.last(reply.worker)
        # After a break the last heartbeat tells what was before it.
        gaps = beat.gaps if beat is not None and self._roster.judges() else None
        lease = Lease(worker=reply.worker, epoch=search.epoch, gaps=gaps)
        self._announce(want.record, want.stage, lease, "granted")
        return lease

    async def _ask(self, search: _Search, subject: str, worker: str) -> LeaseReply:
        """Raises NoResponders, RequestTimeout, and StageMissing for what makes it useless to go on."""
        want = search.want
        search.epoch += 1
        request = LeaseRequest(
            call_id=want.record.call_id,
            stage=want.stage,
            epoch=search.epoch,
            gateway=self._gateway,
            profile=want.record.profile,
            line=want.line,
            line_opened_at=want.line_opened_at,
        )
        remaining_s = max(0.0, search.deadline - self._clock())
        try:
            answer = await self._bus.request(subject, request.model_dump_json().encode(), remaining_s)
            return LeaseReply.model_validate_json(answer)
        except NoResponders:
            _count_silence(want.stage, "missing")
            raise
        except RequestTimeout:
            _count_silence(want.stage, "timeout")
            search.slow = True
            # The worker may still take it: tell it to let go.
            self._announce(want.record, want.stage, Lease(worker=worker, epoch=search.epoch), "released")
            raise
        except Disconnected as error:
            raise search.missing(f"the broker cannot be reached: {error}") from error
        except ValidationError as error:
            raise search.missing(f"a worker answered with garbage: {error.errors()[0]['msg']}") from error

    def release(self, record: CallRecord, leases: dict[str, Lease]) -> None:
        """Give the leases back: the workers let go of the call."""
        for stage, lease in leases.items():
            self._announce(record, stage, lease, "released")

    def lost(self, record: CallRecord, stage: str, lease: Lease) -> None:
        """Tell the other stages that nobody may be at work for `stage` until it is granted again."""
        self._announce(record, stage, lease, "lost")

    def _announce(self, record: CallRecord, stage: str, lease: Lease, state: str) -> None:
        channel = CallChannel(self._bus, record.call_id, "gateway", record.line)
        message = LeaseChanged.model_validate(
            {"leased": stage, "worker": lease.worker, "lease_epoch": lease.epoch, "state": state}
        )
        channel.tell(message)


def _count_silence(stage: str, outcome: _Silence) -> None:
    _LEASES.labels(stage, outcome).inc()


def _holder(record: CallRecord, stage: str) -> tuple[str, ...]:
    """The worker that has the stage now, and is not good enough."""
    return (record.leases[stage].worker,) if stage in record.leases else ()
