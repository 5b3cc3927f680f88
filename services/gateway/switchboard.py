"""The switchboard: from a ringing call to a leased and open line, and to its end."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from pydantic import ValidationError

from services.gateway.calls import CallRecord, CallStore
from services.gateway.endings import REDIAL_WITHIN_S, Endings
from services.gateway.knocking import Misses
from services.gateway.leases import LeaseDesk, StageMissing
from services.gateway.line import End, Line, Owner, Sounds
from services.gateway.lines import Lines, OpenLine
from services.gateway.losses import Judge
from services.gateway.media import Media
from shared.agents import AgentsFile, AgentsFileError
from shared.bus import Bus, BusError, Disconnected
from shared.channel import CallChannel
from shared.messages import CallStarted, ErrorHappened, TurnsChanged
from shared.roster import Roster

log = structlog.get_logger()

_FORGET_AFTER_S = 600.0
"""A worker that hangs is in the broker's queue groups until the broker misses its pongs."""
_TOUCH_OVER_S = 20.0
"""Hundreds of records are not touched at the same moment, which would hold up everybody's audio."""
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
class Full:
    """Every worker of a stage has all the calls that it takes. Nothing is kept of the call: it may ask again."""


@dataclass(frozen=True, slots=True)
class Over:
    """The call has ended: hang up."""


Answer = Connect | TurnAway | Full | Over


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
        moment: bytes = b"",
        judge: Judge | None = None,
    ) -> None:
        """`gateway` is this process's id.

        `apology` is μ-law for when a call cannot go on, `moment` for when the agent keeps the caller waiting.
        """
        self.gateway = gateway
        self.lines = Lines()
        self.endings = Endings(bus, store, self.lines)
        self.draining = False
        self._bus = bus
        self._store = store
        self._desk = desk
        self._roster = roster
        self._agents = agents
        self._sounds = Sounds(apology, moment)
        self._max_call_s = max_call_s
        self._judge = judge or Judge(roster, Misses(), gateway, lambda: bus.gaps)

    async def answer(self, call_id: str, caller: str, dialled: str) -> Answer:
        """A call rings, or its carrier asks again after its socket closed. Raises BusError."""
        if not self._bus.connected:
            # Not after a time-out: the caller hears the phone ring.
            raise Disconnected("the broker cannot be reached")
        record = await self._store.get(call_id)
        if self.draining and record is None and not self._others():
            # It would be cut off soon; the calls of this gateway are answered again while it waits for them.
            log.warning("call_turned_away", call_id=call_id, reason="the last gateway drains")
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
            log.error("stage_missing", call_id=call_id, stage=error.stage, reason=error.reason, full=error.full)
            if not record.line:
                return await self._turn_away(record, error)
            # The conversation is under way: when the line is open again, the keeper goes on looking.
        token = await self._store.issue_token(call_id, self.gateway)
        if token is None:
            return Over()
        self.endings.later(CONNECT_WITHIN_S, call_id, record.line, "never_connected")
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

    def _others(self) -> bool:
        """Whether another gateway takes calls: the media socket opens there, since this one accepts none any more."""
        return any(not beat.draining and beat.worker != self.gateway for beat in self._roster.alive("gateway"))

    async def _turn_away(self, record: CallRecord, error: StageMissing) -> Answer:
        if error.full:
            self._desk.release(record, record.leases)
            await self._store.forget(record.call_id)
            return Full()
        await self.endings.end(record.call_id, "stage_missing")
        return TurnAway()

    async def _lease(self, record: CallRecord) -> None:
        """Lease the stages that have no worker which is fit to go on. Raises StageMissing."""
        missing = [
            stage
            for stage in record.profile.stages
            if stage not in record.leases or self._judge.unfit(record.leases[stage])
        ]
        if not missing:
            return
        taken = await self._desk.take_all(record, missing)
        kept = await self._store.change(
            record.call_id,
            lambda now: None if now.state == "ended" else now.model_copy(update={"leases": {**now.leases, **taken}}),
        )
        if kept is None:
            self._desk.release(record, taken)

    async def connect(self, call_id: str, token: str, media: Media) -> OpenLine | None:
        """Open the call's line on `media`; None when the token is wrong, used or void."""
        record = await self._store.redeem_token(call_id, token, self.gateway)
        if record is None:
            return None
        channel = CallChannel(self._bus, call_id, "gateway", record.line)
        owner = Owner(
            settle=lambda end: self.endings.settle(record, end),
            stage_failed=lambda error: self._stage_failed(opened, error),
            turns_changed=lambda message: self._change_turns(opened, message),
        )
        line = Line(media, channel, record.profile.stages[-1], self._sounds, owner)
        opened = OpenLine(line, record)
        for stage, lease in record.leases.items():
            opened.held[stage] = self._judge.hold(lease, self._bus.gaps)
        try:
            await line.open(
                CallStarted(
                    gateway=self.gateway, caller=record.caller, dialled=record.dialled, agent=record.profile.name
                )
            )
        except BusError:
            await channel.close()
            self.endings.later(REDIAL_WITHIN_S, call_id, record.line, "carrier_lost")
            raise
        older = self.lines.put(opened)
        if older is not None:
            older.line.close("taken_over")
        log.info("call_connected", call_id=call_id, agent=record.profile.name, line=record.line)
        return opened

    async def carry(self, opened: OpenLine) -> End:
        """Run the line to its end."""
        line, record = opened.line, opened.record
        max_call_s = min(self._max_call_s, record.profile.max_call_s)
        over = asyncio.get_running_loop().call_later(max_call_s, line.close, "max_duration")
        try:
            end = await line.run()
        finally:
            over.cancel()
            self.lines.remove(opened)
        log.info("line_closed", call_id=line.call_id, line=record.line, reason=end)
        await self.endings.settle(opened.record, end)
        return end

    def _stage_failed(self, opened: OpenLine, error: ErrorHappened) -> None:
        held = opened.held.get(error.stage)
        if held is None:
            opened.line.fail("stage_failed")
            return
        opened.failed[error.stage] = error.epoch
        if error.epoch == held.lease.epoch:
            self._judge.fail(held)

    async def _change_turns(self, opened: OpenLine, message: TurnsChanged) -> None:
        """Whoever takes a stage over takes turns as the call does now."""

        def changed(record: CallRecord) -> CallRecord:
            turns = record.profile.turns.changed(message.turns)
            return record.model_copy(update={"profile": record.profile.model_copy(update={"turns": turns})})

        try:
            opened.record = changed(opened.record)
            await self._store.change(opened.line.call_id, changed)
        except ValidationError:
            # The stages that follow the change say what is wrong with it.
            return
        except BusError as error:
            log.warning("turns_not_kept", call_id=opened.line.call_id, error=str(error))

    def keep_alive(self) -> None:
        """Run twice a minute: the records of this gateway's calls stay in the broker, the long dead are forgotten."""
        self._roster.forget(_FORGET_AFTER_S)
        self.endings.spawn(self._touch_all([opened.record.call_id for opened in self.lines.all()]))

    async def _touch_all(self, call_ids: Sequence[str]) -> None:
        for call_id in call_ids:
            if call_id in self.lines:
                self.endings.spawn(self._touch(call_id))
            await asyncio.sleep(_TOUCH_OVER_S / len(call_ids))

    async def _touch(self, call_id: str) -> None:
        try:
            await self._store.touch(call_id)
        except BusError as error:
            log.warning("call_not_touched", call_id=call_id, error=str(error))
