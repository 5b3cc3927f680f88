"""Leases, on the gateway's side: finding a worker of each stage for a call."""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog
from pydantic import ValidationError

from services.gateway.calls import CallRecord, Lease
from shared import subjects
from shared.bus import Bus, BusError, Disconnected, NoResponders, RequestTimeout
from shared.channel import CallChannel
from shared.messages import LeaseChanged
from shared.messages.lease import LeaseReply, LeaseRequest
from shared.metrics import LEASES

log = structlog.get_logger()

_BUSY_TRIES = 10


class StageMissing(Exception):
    """No worker of a stage took the call."""

    def __init__(self, stage: str, reason: str) -> None:
        """`reason` says why, for the log."""
        super().__init__(f"{stage}: {reason}")
        self.stage = stage
        self.reason = reason


class LeaseDesk:
    """Asks for workers and gives them back."""

    def __init__(self, bus: Bus, gateway: str, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`timeout_s` is what one stage's worker may take altogether to open a call."""
        self._bus = bus
        self._gateway = gateway
        self._timeout_s = timeout_s
        self._clock = clock

    async def take_all(self, record: CallRecord, stages: Sequence[str]) -> dict[str, Lease]:
        """Lease the call to one worker of each of `stages`, side by side.

        Raises StageMissing for the first stage without one; what the others gave is given back.
        """
        results = await asyncio.gather(*(self._take(record, stage) for stage in stages), return_exceptions=True)
        leases = {stage: result for stage, result in zip(stages, results, strict=True) if isinstance(result, Lease)}
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            await self.release(record, leases)
            raise failures[0]
        return leases

    async def _take(self, record: CallRecord, stage: str) -> Lease:
        previous = record.leases.get(stage)
        epoch = previous.epoch if previous else 0
        deadline = self._clock() + self._timeout_s
        for _ in range(_BUSY_TRIES):
            epoch += 1
            reply = await self._ask(record, stage, epoch, deadline - self._clock())
            LEASES.labels(stage, reply.state).inc()
            if reply.state == "granted":
                lease = Lease(worker=reply.worker, epoch=epoch)
                await self._announce(record, stage, lease, "granted")
                return lease
            if reply.state == "refused":
                raise StageMissing(stage, f"{reply.worker} refused the call: {reply.reason}")
            if self._clock() >= deadline:
                break
        raise StageMissing(stage, "every worker is busy")

    async def _ask(self, record: CallRecord, stage: str, epoch: int, timeout_s: float) -> LeaseReply:
        request = LeaseRequest(
            call_id=record.call_id, stage=stage, epoch=epoch, gateway=self._gateway, profile=record.profile
        )
        try:
            answer = await self._bus.request(subjects.lease(stage), request.model_dump_json().encode(), timeout_s)
            return LeaseReply.model_validate_json(answer)
        except NoResponders as error:
            LEASES.labels(stage, "missing").inc()
            raise StageMissing(stage, "no worker is there, or all are full") from error
        except RequestTimeout as error:
            LEASES.labels(stage, "timeout").inc()
            # The worker may still take it: tell it to let go.
            await self._announce(record, stage, Lease(worker="", epoch=epoch), "released")
            raise StageMissing(stage, f"no worker was ready within {self._timeout_s} s") from error
        except Disconnected as error:
            raise StageMissing(stage, f"the broker cannot be reached: {error}") from error
        except ValidationError as error:
            raise StageMissing(stage, f"a worker answered with garbage: {error.errors()[0]['msg']}") from error

    async def release(self, record: CallRecord, leases: dict[str, Lease]) -> None:
        """Give the leases back: the workers let go of the call."""
        for stage, lease in leases.items():
            await self._announce(record, stage, lease, "released")

    async def _announce(self, record: CallRecord, stage: str, lease: Lease, state: str) -> None:
        channel = CallChannel(self._bus, record.call_id, "gateway", record.line)
        message = LeaseChanged.model_validate(
            {"leased": stage, "worker": lease.worker, "lease_epoch": lease.epoch, "state": state}
        )
        try:
            await channel.send(message)
        except BusError as error:
            log.error("lease_not_announced", call_id=record.call_id, stage=stage, state=state, error=str(error))
