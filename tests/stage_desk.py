"""One worker at its desk for tests: leases and beats over a bus within the process, and time that the test makes."""

import asyncio

from shared import subjects
from shared.channel import CallChannel
from shared.memory_bus import MemoryBus
from shared.messages.lease import LeaseReply, LeaseRequest
from shared.messages.worker import Heartbeat
from shared.roster import Roster
from shared.stage import StageWorker
from tests.fakes import FakeStage, profile


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """One worker and the bus it listens on."""

    def __init__(self, max_calls: int = 2) -> None:
        self.bus = MemoryBus()
        self.stage = FakeStage("stt")
        self.time = Time()
        self.roster = Roster(self.time)
        self.worker = StageWorker(self.bus, self.stage, "stt-1", max_calls, self.roster, 100, self.time)

    async def ask(self, call_id: str, epoch: int = 1, *, line: int = 0, directly: bool = False) -> LeaseReply:
        request = LeaseRequest(
            call_id=call_id,
            stage="stt",
            epoch=epoch,
            gateway="gw-1",
            profile=profile(),
            line=line,
            line_opened_at=900.0 * line,
        )
        subject = subjects.lease_of("stt", "stt-1") if directly else subjects.lease("stt")
        return LeaseReply.model_validate_json(await self.bus.request(subject, request.model_dump_json().encode(), 5))

    def beat(self, *lags_ms: float) -> None:
        for lag_ms in lags_ms:
            self.worker.pulse.loop_lag_ms = lag_ms
            self.worker.on_beat()

    @property
    def beats(self) -> list[Heartbeat]:
        return [Heartbeat.model_validate_json(b) for s, b in self.bus.published if s == "worker.stt.stt-1"]

    async def until_out_of_the_queue(self) -> None:
        async with asyncio.timeout(5):
            while any(responder.pattern == "lease.stt" for responder in self.bus.responders):
                await asyncio.sleep(0)

    def gateway(self, call_id: str, line: int = 1) -> CallChannel:
        return CallChannel(self.bus, call_id, "gateway", line)

    async def until(self, calls: int) -> None:
        async with asyncio.timeout(5):
            while self.worker.calls != calls:
                await asyncio.sleep(0)
