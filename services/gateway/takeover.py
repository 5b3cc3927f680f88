"""A takeover: one stage of an open line is leased again, and goes on where the worker before was lost."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Literal, get_args

import structlog
from prometheus_client import Counter, Histogram

from services.gateway.calls import CallRecord, CallStore, Lease
from services.gateway.leases import EVERY_STAGE, LeaseDesk, StageMissing, Want
from services.gateway.lines import OpenLine
from services.gateway.losses import Judge, Reason
from services.gateway.utterances import UNSURE_MS
from services.gateway.window import Window
from shared.bus import Bus, BusError
from shared.metrics import from_zero

log = structlog.get_logger()

_UNSURE_MS = {"stt": UNSURE_MS, "speech": 0}
"""The stages that hear the caller, and how long what they hear takes to be told: the echo answers at once."""
Outcome = Literal["taken", "given_up", "recovered", "put_off", "void"]
"""`recovered`: the worker was only slow. `put_off`: one that drains keeps the call for a while. `void`: the call or
the line is over."""
_TAKEOVERS = from_zero(
    Counter("trunkline_takeovers_total", "Stages of open lines that were leased again", ["stage", "reason", "outcome"]),
    EVERY_STAGE,
    get_args(Reason),
    get_args(Outcome),
)
_DURATION = Histogram(
    "trunkline_takeover_seconds",
    "From the moment that a worker was given up to the moment that another has gone on",
    ["stage"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 15.0),
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a stage may be missing, in seconds."""

    retry_s: float = 0.2
    """Before the second try; each wait is half as long again as the one before."""
    longest_retry_s: float = 1.0
    moment_s: float = 2.5
    """Then the caller is asked for patience."""
    give_up_s: float = 15.0
    """Then the caller hears an apology, and the call ends."""


class _Void(Exception):
    """The call or the line is over, or another gateway's: there is nothing to take over."""


class _Recovered(Exception):
    """The worker lives after all, and nobody else has taken the stage: it was only slow."""


class Takeovers:
    """Leases stages again, bounded and side by side."""

    def __init__(self, bus: Bus, store: CallStore, desk: LeaseDesk, judge: Judge, patience: Patience) -> None:
        """`judge` watches the new lease as well."""
        self._bus = bus
        self._store = store
        self._desk = desk
        self._judge = judge
        self._patience = patience
        self._windows: defaultdict[str, Window] = defaultdict(Window)
        """By stage."""
        self._keeping: set[asyncio.Task[None]] = set()

    async def take(self, opened: OpenLine, stage: str, reason: Reason) -> None:
        """Lease `stage` again until it works, the line closes or patience ends, which ends the call.

        A worker that only drains keeps the call when nobody else takes it now.
        """
        outcome: Outcome
        began, held = time.monotonic(), opened.held[stage]
        since = time.time() - self._judge.unsure_s(held, reason)
        if reason != "draining":
            self._desk.lost(opened.record, stage, held.lease)
        try:
            lease = await self._find(opened, stage, reason)
            await self._resume(opened, stage, lease, since)
        except _Void:
            outcome = "void"
        except StageMissing:
            outcome = "put_off"
            self._judge.put_off(held)
            if stage in _UNSURE_MS:
                await opened.line.uplink.go_on()
        except _Recovered:
            outcome = "recovered"
            await self._resume(opened, stage, held.lease, since, anew=False)
        except TimeoutError:
            outcome = "given_up"
            log.error("stage_lost", call_id=opened.record.call_id, stage=stage, worker=held.lease.worker)
            opened.line.fail("stage_lost")
        else:
            outcome, duration_s = "taken", time.monotonic() - began
            _DURATION.labels(stage).observe(duration_s)
            fields = {"stage": stage, "reason": reason, "ms": round(duration_s * 1000), "epoch": lease.epoch}
            log.info(
                "stage_taken",
                call_id=opened.record.call_id,
                before=held.lease.worker,
                worker=lease.worker,
                **fields,
            )
        _TAKEOVERS.labels(stage, reason, outcome).inc()

    async def _find(self, opened: OpenLine, stage: str, reason: Reason) -> Lease:
        """Raises _Void; StageMissing when the worker that drains had better keep the call; TimeoutError."""
        if reason == "draining":
            return await self._try(opened, stage, reason)
        return await self._insist(opened, stage, reason)

    async def _insist(self, opened: OpenLine, stage: str, reason: Reason) -> Lease:
        """Try until a worker has the stage. Raises _Void, _Recovered, and TimeoutError when patience ends."""
        loop, patience = asyncio.get_running_loop(), self._patience
        waiting = asyncio.create_task(self._ask_for_patience(opened))
        above, wait_s = 0, patience.retry_s
        try:
            async with asyncio.timeout(patience.give_up_s) as limit:
                while True:
                    try:
                        return await self._try(opened, stage, reason, above)
                    except StageMissing as error:
                        above = max(above, error.epoch)
                        log.warning("stage_missing", call_id=opened.record.call_id, stage=stage, reason=error.reason)
                    if not self._bus.connected:
                        limit.reschedule(loop.time() + patience.give_up_s)
                    await asyncio.sleep(wait_s)
                    wait_s = min(1.5 * wait_s, patience.longest_retry_s)
        except TimeoutError:
            if self._lives(opened, stage):
                raise _Recovered from None
            raise
        finally:
            waiting.cancel()

    def _lives(self, opened: OpenLine, stage: str) -> bool:
        """Whether the worker that has the stage does its work after all."""
        return self._judge.reason(opened.held[stage], lambda: False) is None

    async def _ask_for_patience(self, opened: OpenLine) -> None:
        await asyncio.sleep(self._patience.moment_s)
        await opened.line.ask_for_patience()

    async def _try(self, opened: OpenLine, stage: str, reason: Reason, above: int = 0) -> Lease:
        """Raises StageMissing, _Void, and _Recovered when its turn comes too late to be needed."""
        async with self._windows[stage].place():
            if reason != "draining" and self._lives(opened, stage):
                raise _Recovered
            opened.record = await self._newest(opened, stage)
            own_gaps, line, before = self._bus.gaps, opened.line, opened.held[stage].lease
            # A worker that missed something lives, and may be full with the very call that it holds.
            anew = reason == "gap"
            want = Want(
                opened.record,
                stage,
                above=max(above, before.epoch),
                first=before.worker if anew else "",
                avoid=() if anew else (before.worker,),
                line=line.number,
                line_opened_at=line.uplink.opened_at,
            )
            if stage in _UNSURE_MS:
                line.uplink.hold()
            lease = await self._desk.take(want)
            if anew:
                # Its last heartbeat may be from before what both of them missed.
                lease = lease.model_copy(update={"gaps": None})
            opened.record = _with_lease(opened.record, line.number, stage, lease) or opened.record
            self._spawn(self._keep(opened, stage, lease))
            held = opened.held[stage] = self._judge.hold(lease, own_gaps)
            if opened.failed.get(stage) == lease.epoch:
                self._judge.fail(held)
            line.silence(stage, lease.epoch)
            return lease

    async def _newest(self, opened: OpenLine, stage: str) -> CallRecord:
        """The call's record, if the line is still the call's. Raises StageMissing and _Void.

        A gateway that was held up must not take a worker away from the one that goes on with the call.
        """
        try:
            record = await self._store.get(opened.line.call_id)
        except BusError as error:
            raise StageMissing(stage, f"the call's record cannot be read: {error}") from error
        line = opened.line
        if record is not None and record.line > line.number:
            line.close("taken_over")
        if record is None or record.state == "ended" or line.closing:
            raise _Void
        return record

    async def _keep(self, opened: OpenLine, stage: str, lease: Lease) -> None:
        """Write the lease into the call's record, beside the call: a cluster without a leader takes seconds for it."""
        call_id, line = opened.line.call_id, opened.line.number
        try:
            kept = await self._store.change(call_id, lambda now: _with_lease(now, line, stage, lease))
            newest = kept or await self._store.get(call_id)
        except BusError as error:
            log.error("lease_not_kept", call_id=call_id, stage=stage, epoch=lease.epoch, error=str(error))
            return
        held = opened.held[stage]
        if kept is not None or held.lease.epoch > lease.epoch:
            return
        self._desk.release(opened.record, {stage: lease})
        if newest is not None and newest.line > line:
            opened.line.close("taken_over")
        elif newest is not None and newest.state != "ended":
            # Another gateway has leased the stage, because the carrier asked it, and then the line did not move there.
            self._judge.fail(held)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def _resume(self, opened: OpenLine, stage: str, lease: Lease, since: float, *, anew: bool = True) -> None:
        """The others hear who has the stage, and it is sent what was meant for the worker before.

        A worker that has it not `anew` gets what was only kept, and may get the rest twice.
        """
        line = opened.line
        try:
            await line.tell_taken(stage, lease.worker, lease.epoch, since)
            if stage == "llm":
                await line.uplink.press_again(since)
        except BusError as error:
            # The broker was lost again: everything is leased anew when it is back.
            log.warning("takeover_not_told", call_id=line.call_id, stage=stage, error=str(error))
        if stage in _UNSURE_MS and anew:
            await line.uplink.replay(since, _UNSURE_MS[stage])
        elif stage in _UNSURE_MS:
            await line.uplink.go_on()


def _with_lease(record: CallRecord, line: int, stage: str, lease: Lease) -> CallRecord | None:
    """`record` with the lease; None when the call is over, or when somebody else takes care of it."""
    held = record.leases.get(stage)
    if record.state == "ended" or record.line != line or (held is not None and held.epoch >= lease.epoch):
        return None
    return record.model_copy(update={"leases": {**record.leases, stage: lease}})
