"""The calls that a worker holds, from lease to release.

A call is let go of when it ended, when its session failed, when its lease was given back or a newer one was granted,
when its gateway has fallen silent for good, and when no gateway has announced the lease.

A worker that lost the broker and found it again may have missed the message that tells of the newer lease, so it
doubts the leases that it took before. Its heartbeat tells the gateways of the gap, and they lease those calls anew.
What was neither leased anew nor ended in time is let go of with a fatal error: a gateway that still counts on the
lease hears it and leases the call again, and all others drop the message because its epoch is old. A process that
was only stopped for a while doubts nothing: it finds all messages in its socket, in their order.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Protocol

import structlog

from shared.bus import Bus
from shared.call import Call
from shared.channel import CallChannel
from shared.messages import CallEnded, CallStarted, LeaseChanged, Message
from shared.messages.lease import LeaseRequest
from shared.roster import Roster

log = structlog.get_logger()

ORPHANED_AFTER_S = 30.0
"""A gateway silent for longer than a carrier redials lost its calls for good."""
GRANTED_WITHIN_S = 20.0
"""A gateway announces at once each lease that it has got."""
DOUBTED_FOR_S = 20.0
"""A gateway that heard of the gap leases the call anew within seconds, or has given it up by then."""


class Session(Protocol):
    """One call's work in one stage."""

    async def close(self) -> None:
        """The call has ended or moved on: finish with the provider. Must not raise."""


Open = Callable[[Call], Awaitable[Session]]
"""Gets a session ready. Raises what makes the worker refuse the lease."""


class Revoked(Exception):
    """The worker had to let go of the call while it was opened."""


class LeaseInDoubt(Exception):
    """The worker may have missed that the call was leased elsewhere."""


@dataclass(slots=True, eq=False)
class Holding:
    """A call that this worker holds."""

    call: Call
    epoch: int
    gateway: str
    gaps: int
    """How often the broker had been lost when the lease was last sure."""
    taken_at: float
    """On the worker's clock."""
    session: Session | None = None
    """None: it is being opened."""
    opening: asyncio.Task[Session] | None = None
    granted: bool = False
    """The gateway has announced the lease."""
    doubted_at: float | None = None
    """When a gap was noticed that it has survived so far."""
    let_go: str = ""
    """Why it is held no more."""


class Holdings:
    """All calls of one worker, those that are being opened included."""

    def __init__(
        self,
        bus: Bus,
        stage: str,
        open_session: Open,
        roster: Roster,
        changed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`changed` is called when a slot was taken or has become free."""
        self._bus = bus
        self._stage = stage
        self._open_session = open_session
        self._roster = roster
        self._changed = changed
        self._clock = clock
        self._held: dict[str, Holding] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Slots in use."""
        return len(self._held)

    def find(self, call_id: str) -> Holding | None:
        """The call as it is held, or None."""
        return self._held.get(call_id)

    async def open(self, request: LeaseRequest) -> None:
        """Take the call; an older lease of it is let go of, and its session closes beside.

        Raises Revoked, and whatever the stage raises.
        """
        if (older := self._held.get(request.call_id)) is not None:
            self._let_go(older, "leased again", superseded=True)
        channel = CallChannel(self._bus, request.call_id, self._stage, request.epoch)
        channel.supersede("gateway", request.line)
        call = Call(request.profile, channel, request.line, request.line_opened_at)
        holding = Holding(call, request.epoch, request.gateway, self._bus.gaps, self._clock())
        call.failed = lambda: self._let_go(holding, "failed")
        self._held[call.id] = holding
        self._changed()
        holding.opening = asyncio.create_task(self._begin(holding))
        try:
            session = await holding.opening
        except BaseException as error:
            self._forget(holding)
            if holding.let_go and isinstance(error, asyncio.CancelledError):
                raise Revoked(f"let go of while it was opened: {holding.let_go}") from None
            raise
        holding.session = session
        if not self._is_held(holding):
            await self._close(session, call)
            raise Revoked(f"let go of when it was ready: {holding.let_go}")

    async def _begin(self, holding: Holding) -> Session:
        call, session = holding.call, None

        async def on_event(message: Message) -> None:
            self._judge(holding, message)

        try:
            await call.channel.on(on_event, CallStarted, LeaseChanged, CallEnded)
            session = await self._open_session(call)
            await call.channel.flush()
        except BaseException:
            await self._close(session, call)
            raise
        return session

    def _judge(self, holding: Holding, message: Message) -> None:
        """What an event of the call means for the lease."""
        if isinstance(message, CallStarted):
            holding.gateway = message.gateway
        elif isinstance(message, CallEnded):
            self._let_go(holding, message.reason)
        elif isinstance(message, LeaseChanged) and message.leased == self._stage:
            own = message.lease_epoch == holding.epoch
            holding.granted = holding.granted or (own and message.state == "granted")
            given_back = own and message.state == "released"
            # A newer one that was not granted in time changes nothing: this worker may be the only one.
            replaced = message.state == "granted" and message.lease_epoch > holding.epoch
            if given_back or replaced:
                self._let_go(holding, message.state, superseded=True)

    def _is_held(self, holding: Holding) -> bool:
        return self._held.get(holding.call.id) is holding

    def _forget(self, holding: Holding) -> None:
        if self._is_held(holding):
            del self._held[holding.call.id]
            self._changed()

    def _let_go(self, holding: Holding, reason: str, *, superseded: bool = False) -> None:
        """Free the slot now and close the session beside: a subscription cannot wait for its own end.

        `superseded`: the stage of this call is another worker's, or another session's, from this moment on.
        """
        if not self._is_held(holding):
            return
        holding.let_go = reason
        if superseded:
            holding.call.channel.retire()
        if holding.session is not None:
            self._beside(self._close(holding.session, holding.call))
        elif holding.opening is not None:
            holding.opening.cancel()
        log.info("lease_released", call_id=holding.call.id, stage=self._stage, epoch=holding.epoch, reason=reason)
        self._forget(holding)

    def _beside(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, session: Session | None, call: Call) -> None:
        try:
            if session is not None:
                await session.close()
        finally:
            await call.close()

    def look_after(self) -> None:
        """Run with each heartbeat: let go of what has no gateway, or no lease, any more."""
        if not self._bus.connected:
            return
        for holding in list(self._held.values()):
            if self._bus.gaps > holding.gaps:
                holding.gaps, holding.doubted_at = self._bus.gaps, self._clock()
            if holding.doubted_at is None:
                self._check_gateway(holding)
                self._check_grant(holding)
            else:
                # The silence of its gateway was the broker's.
                self._check_doubt(holding, holding.doubted_at)

    def _check_gateway(self, holding: Holding) -> None:
        silent_s = self._roster.silent_s(holding.gateway)
        if silent_s is not None and silent_s > ORPHANED_AFTER_S:
            self._let_go(holding, "gateway lost")

    def _check_grant(self, holding: Holding) -> None:
        # A worker that hung when it was asked answers a gateway that waits no more, perhaps after the call's end.
        if not holding.granted and self._clock() - holding.taken_at > GRANTED_WITHIN_S:
            self._let_go(holding, "never granted")

    def _check_doubt(self, holding: Holding, since: float) -> None:
        if self._clock() - since > DOUBTED_FOR_S:
            holding.doubted_at = None
            holding.call.fail(LeaseInDoubt("the broker was lost, and nobody has leased the call anew since"))

    async def close(self, reason: str) -> None:
        """Let go of all calls, and return when their sessions are closed."""
        for holding in list(self._held.values()):
            self._let_go(holding, reason)
        while self._closing:
            await asyncio.wait(self._closing)
