"""The switchboard: from a ringing call to a leased and open line, and to its end."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass

import structlog

from services.gateway.calls import CallRecord, CallStore, Lease
from services.gateway.leases import LeaseDesk, StageMissing
from services.gateway.line import End, Line
from services.gateway.media import Media
from shared.agents import AgentsFile, AgentsFileError
from shared.bus import Bus, BusError, Disconnected
from shared.channel import CallChannel
from shared.messages import CallEnded, CallStarted
from shared.metrics import CALLS_ENDED
from shared.roster import DEAD_AFTER_S, Roster

log = structlog.get_logger()

REDIAL_WITHIN_S = 10.0
"""A carrier whose socket broke asks the webhook again within this time, or the call is over."""
_FORGET_AFTER_S = 60.0
RETRY_S = 2.0
"""Between two tries to end a call while the broker is away."""
CONNECT_WITHIN_S = 20.0
"""A call that was answered opens its media socket within this time, or it is over."""


@dataclass(frozen=True, slots=True)
class Connect:
    """The call is leased: open a media socket with this one-use token."""

    agent: str
    token: str


@dataclass(frozen=True, slots=True)
class TurnAway:
    """The call cannot be served: apologise and hang up."""


@dataclass(frozen=True, slots=True)
class Over:
    """The call has ended: hang up."""


Answer = Connect | TurnAway | Over


class Switchboard:
    """Answers calls, owns this gateway's lines, and ends calls. Knows nothing of carriers."""

    def __init__(
        self,
        bus: Bus,
        store: CallStore,
        desk: LeaseDesk,
        roster: Roster,
        agents: AgentsFile,
        gateway: str,
        apology: bytes,
        max_call_s: float,
    ) -> None:
        """`gateway` is this process's id; `apology` is μ-law for when a stage fails in mid-call."""
        self.gateway = gateway
        self.lines: dict[str, Line] = {}
        self.draining = False
        self.idle = asyncio.Event()
        self.idle.set()
        self._bus = bus
        self._store = store
        self._desk = desk
        self._roster = roster
        self._agents = agents
        self._apology = apology
        self._max_call_s = max_call_s
        self._live: dict[str, tuple[CallRecord, float]] = {}
        self._trust_silence_from = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, call_id: str, caller: str, dialled: str) -> Answer:
        """A call rings, or its carrier asks again after its socket closed. Raises BusError."""
        if not self._bus.connected:
            # Not after a time-out: the caller hears the phone ring.
            raise Disconnected("the broker cannot be reached")
        record = await self._store.get(call_id)
        if self.draining:
            # Nobody routes calls to a gateway that is not ready unless it is the only one.
            log.warning("call_turned_away", call_id=call_id, reason="this gateway drains")
            await self.end(call_id, "drained")
            return TurnAway()
        if record is None:
            record = self._new(call_id, caller, dialled)
            if not await self._store.create(record):
                # The carrier asked twice at once.
                record = await self._store.get(call_id) or record
            log.info("call_ringing", call_id=call_id, agent=record.profile.name)
        elif record.state == "ended":
            return Over()
        try:
            await self._lease(record)
        except StageMissing as error:
            log.error("stage_missing", call_id=call_id, stage=error.stage, reason=error.reason)
            await self.end(call_id, "stage_missing")
            return TurnAway()
        token = await self._store.issue_token(call_id)
        if token is None:
            return Over()
        self._later(CONNECT_WITHIN_S, call_id, record.line, "never_connected")
        return Connect(record.profile.name, token)

    def _new(self, call_id: str, caller: str, dialled: str) -> CallRecord:
        try:
            directory = self._agents.refresh()
        except AgentsFileError as error:
            log.error("agents_file_unusable", error=str(error))
            directory = self._agents.directory
        return CallRecord(
            call_id=call_id,
            caller=caller,
            dialled=dialled,
            profile=directory.by_number(dialled),
            gateway=self.gateway,
            started_at=time.time(),
        )

    def _lost(self, lease: Lease, taken_at: float) -> bool:
        silent_s = self._roster.silent_s(lease.worker)
        return (time.monotonic() - taken_at if silent_s is None else silent_s) > DEAD_AFTER_S

    async def _lease(self, record: CallRecord) -> None:
        """Lease the stages that have no living worker yet."""
        missing = [
            stage
            for stage in record.profile.stages
            if stage not in record.leases or self._lost(record.leases[stage], time.monotonic())
        ]
        if not missing:
            return
        taken = await self._desk.take_all(record, missing)
        kept = await self._store.change(
            record.call_id,
            lambda now: None if now.state == "ended" else now.model_copy(update={"leases": {**now.leases, **taken}}),
        )
        if kept is None:
            await self._desk.release(record, taken)

    async def connect(self, call_id: str, token: str, media: Media) -> Line | None:
        """Open the call's line on `media`; None when the token is wrong, used or void."""
        record = await self._store.redeem_token(call_id, token, self.gateway)
        if record is None:
            return None
        channel = CallChannel(self._bus, call_id, "gateway", record.line)
        line = Line(media, channel, record.profile.stages[-1], self._apology, lambda end: self._settle(record, end))
        try:
            await line.open(
                CallStarted(
                    gateway=self.gateway, caller=record.caller, dialled=record.dialled, agent=record.profile.name
                )
            )
        except BusError:
            await channel.close()
            self._later(REDIAL_WITHIN_S, call_id, record.line, "carrier_lost")
            raise
        older = self.lines.get(call_id)
        if older is not None:
            older.close("taken_over")
        self.lines[call_id] = line
        self._live[call_id] = (record, time.monotonic())
        self.idle.clear()
        log.info("call_connected", call_id=call_id, agent=record.profile.name, line=record.line)
        return line

    async def carry(self, line: Line) -> End:
        """Run the line to its end."""
        record, _ = self._live[line.call_id]
        max_call_s = min(self._max_call_s, record.profile.max_call_s)
        over = asyncio.get_running_loop().call_later(max_call_s, line.close, "max_duration")
        try:
            end = await line.run()
        finally:
            over.cancel()
            if self.lines.get(line.call_id) is line:
                del self.lines[line.call_id]
                del self._live[line.call_id]
                if not self.lines:
                    self.idle.set()
        log.info("line_closed", call_id=line.call_id, line=record.line, reason=end)
        await self._settle(record, end)
        return end

    async def _settle(self, record: CallRecord, end: End) -> None:
        """What the end of a line means for its call."""
        if end in ("carrier_lost", "drained"):
            self._later(REDIAL_WITHIN_S, record.call_id, record.line, end)
        elif end != "taken_over":
            await self._surely(record.call_id, lambda: self.end(record.call_id, end))

    def _later(self, after_s: float, call_id: str, line: int, reason: str) -> None:
        """End the call after a while unless a newer line was opened."""

        async def end_unless_connected() -> None:
            await self._surely(call_id, end)

        async def end() -> None:
            record = await self._store.get(call_id)
            if record is not None and record.line == line and record.state != "ended" and call_id not in self.lines:
                await self.end(call_id, reason)

        loop = asyncio.get_running_loop()
        loop.call_later(after_s, lambda: self._spawn(end_unless_connected()))

    async def _surely(self, call_id: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work`; while the broker is away, again and again beside: the stages must hear of a call's end."""
        try:
            await work()
        except BusError as error:
            log.warning("broker_away_at_the_end", call_id=call_id, error=str(error))

            async def again() -> None:
                await asyncio.sleep(RETRY_S)
                await self._surely(call_id, work)

            self._spawn(again())

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self, call_id: str, reason: str) -> None:
        """The call is over: every stage lets go. Ending it twice is no error."""
        ended = await self._store.change(
            call_id,
            lambda record: None if record.state == "ended" else record.model_copy(update={"state": "ended"}),
        )
        if ended is None:
            return
        duration_ms = int((time.time() - ended.started_at) * 1000)
        log.info("call_ended", call_id=call_id, reason=reason, duration_ms=duration_ms)
        CALLS_ENDED.labels(reason).inc()
        channel = CallChannel(self._bus, call_id, "gateway", ended.line)
        message = CallEnded(reason=reason, duration_ms=duration_ms)
        await self._surely(call_id, lambda: channel.send(message))
        line = self.lines.get(call_id)
        if line is not None:
            line.close("caller_hung_up")

    def check_stages(self) -> None:
        """Run now and then: a line whose worker has fallen silent gets an apology and ends."""
        now = time.monotonic()
        if not self._bus.connected:
            self._trust_silence_from = now + 2 * DEAD_AFTER_S
        if now < self._trust_silence_from:
            return
        for call_id, line in list(self.lines.items()):
            record, connected_at = self._live[call_id]
            for stage in record.profile.stages:
                if self._lost(record.leases[stage], connected_at):
                    log.error("stage_lost", call_id=call_id, stage=stage, worker=record.leases[stage].worker)
                    line.fail("stage_lost")

    def keep_alive(self) -> None:
        """Run now and then: the records of this gateway's calls stay in the broker, the long dead are forgotten."""
        self._roster.forget(_FORGET_AFTER_S)
        for call_id in self.lines:
            self._spawn(self._touch(call_id))

    async def _touch(self, call_id: str) -> None:
        try:
            await self._store.touch(call_id)
        except BusError as error:
            log.warning("call_not_touched", call_id=call_id, error=str(error))

    async def drain(self, timeout_s: float) -> None:
        """Answer no new calls; let the lines end, and close those left after `timeout_s` for another gateway."""
        self.draining = True
        try:
            await asyncio.wait_for(self.idle.wait(), timeout_s)
        except TimeoutError:
            log.warning("drain_timed_out", calls=len(self.lines))
            for line in list(self.lines.values()):
                line.close("drained")
            await self.idle.wait()
        for task in self._tasks:
            task.cancel()
