"""Leases, on the worker's side: one mechanism for every stage.

A worker joins the queue group of `lease.<stage>` while it has a free slot, answers each request
after it has subscribed to the call's subjects, beats, and lets go of a call that ended, that a
newer lease took over, or whose gateway has fallen silent.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol

import structlog
from pydantic import ValidationError

from shared import subjects
from shared.bus import Bus, Subscription
from shared.call import Call
from shared.channel import CallChannel
from shared.messages import CallEnded, CallStarted, LeaseChanged, Message
from shared.messages.lease import LeaseReply, LeaseRequest
from shared.messages.worker import Heartbeat
from shared.pulse import Pulse
from shared.roster import Roster

log = structlog.get_logger()

ORPHANED_AFTER_S = 30.0
"""A gateway silent for longer than a carrier redials lost its calls for good."""


class CannotServe(Exception):
    """The stage cannot serve this call (no key, an unknown voice, …); the message says what to do."""


class Session(Protocol):
    """One call's work in one stage."""

    async def close(self) -> None:
        """The call has ended or moved on: finish with the provider. Must not raise."""


class Stage(Protocol):
    """What a service adds: it knows nothing of leases."""

    @property
    def name(self) -> str:
        """The stage's name in subjects: stt, llm, tts or speech."""

    async def open(self, call: Call) -> Session:
        """Subscribe to the call's subjects and get ready. Raises CannotServe."""


@dataclass(slots=True)
class _Held:
    """A call that this worker holds."""

    call: Call
    epoch: int
    gateway: str
    session: Session


class StageWorker:
    """One worker process of a stage and the calls it holds."""

    def __init__(self, bus: Bus, stage: Stage, worker: str, max_calls: int, roster: Roster | None = None) -> None:
        """`worker` is this process's id, unique in the fleet and fit for a subject."""
        self.worker = worker
        self.stage = stage
        self.draining = False
        self._bus = bus
        self._max_calls = max_calls
        self._roster = roster or Roster()
        self._held: dict[str, _Held] = {}
        self._opening: dict[str, int] = {}
        self._queue: Subscription | None = None
        self._changing = asyncio.Lock()
        self.pulse = Pulse(bus, self._beat, self._release_orphans)
        self._closing: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def calls(self) -> int:
        """Slots in use, calls being opened included."""
        return len(self._held) + len(self._opening)

    async def start(self) -> None:
        """Join the queue group and begin to beat."""
        await self._roster.listen(self._bus)
        await self._offer()
        self.pulse.start()

    async def _offer(self) -> None:
        """Be in the queue group exactly while there is a free slot and no drain."""
        async with self._changing:
            wanted = not self.draining and self.calls < self._max_calls
            if wanted and self._queue is None:
                name = self.stage.name
                self._queue = await self._bus.respond(subjects.lease(name), self._answer, queue=name)
                await self._bus.flush()
            elif not wanted and self._queue is not None:
                # Drain: a request that is on its way here must still be answered.
                queue, self._queue = self._queue, None
                await queue.drain()

    async def _answer(self, payload: bytes) -> bytes:
        try:
            request = LeaseRequest.model_validate_json(payload)
        except ValidationError as error:
            reply = LeaseReply(state="refused", worker=self.worker, reason=f"bad request: {error.errors()[0]['msg']}")
        else:
            reply = await self._take(request)
        return reply.model_dump_json().encode()

    async def _take(self, request: LeaseRequest) -> LeaseReply:
        held = self._held.get(request.call_id)
        if self.draining or request.call_id in self._opening or (held is None and self.calls >= self._max_calls):
            return LeaseReply(state="busy", worker=self.worker)
        if held is not None:
            if held.epoch >= request.epoch:
                return LeaseReply(state="refused", worker=self.worker, reason="a newer lease exists")
            await self._release(request.call_id, "leased again")
        self._opening[request.call_id] = request.epoch
        self._empty.clear()
        try:
            await self._open(request)
        except CannotServe as error:
            log.warning("lease_refused", call_id=request.call_id, stage=self.stage.name, reason=str(error))
            return LeaseReply(state="refused", worker=self.worker, reason=str(error))
        except Exception as error:
            # Unanswered, the gateway would wait for its time-out while the caller hears the phone ring.
            log.exception("lease_failed", call_id=request.call_id, stage=self.stage.name)
            return LeaseReply(state="refused", worker=self.worker, reason=f"{type(error).__name__}: {error}")
        finally:
            del self._opening[request.call_id]
            self._changed()
        log.info("lease_granted", call_id=request.call_id, stage=self.stage.name, epoch=request.epoch)
        return LeaseReply(state="granted", worker=self.worker)

    async def _open(self, request: LeaseRequest) -> None:
        channel = CallChannel(self._bus, request.call_id, self.stage.name, request.epoch)
        call = Call(request.profile, channel)
        call.failed = lambda: self._let_go(request.call_id, request.epoch, "failed")
        try:
            await channel.on(self._on_event, CallStarted, LeaseChanged, CallEnded)
            session = await self.stage.open(call)
            await channel.flush()
        except BaseException:
            await call.close()
            raise
        self._held[request.call_id] = _Held(call, request.epoch, request.gateway, session)

    async def _on_event(self, message: Message) -> None:
        held = self._held.get(message.call_id)
        if held is None:
            return
        if isinstance(message, CallStarted):
            held.gateway = message.gateway
        elif isinstance(message, CallEnded):
            self._let_go(message.call_id, held.epoch, message.reason)
        elif isinstance(message, LeaseChanged) and message.leased == self.stage.name:
            given_back = message.state == "released" and message.lease_epoch == held.epoch
            if given_back or message.lease_epoch > held.epoch:
                self._let_go(message.call_id, held.epoch, message.state)

    def _let_go(self, call_id: str, epoch: int, reason: str) -> None:
        """Release from inside a handler: a subscription cannot wait for its own end."""
        held = self._held.get(call_id)
        if held is not None and held.epoch == epoch:
            task = asyncio.create_task(self._release(call_id, reason))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _release(self, call_id: str, reason: str) -> None:
        held = self._held.pop(call_id, None)
        if held is None:
            return
        try:
            await held.session.close()
        finally:
            await held.call.close()
            log.info("lease_released", call_id=call_id, stage=self.stage.name, reason=reason)
            self._changed()

    def _changed(self) -> None:
        if self.calls == 0:
            self._empty.set()
        task = asyncio.create_task(self._offer())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _beat(self, loop_lag_ms: float) -> Heartbeat:
        return Heartbeat(
            stage=self.stage.name,
            worker=self.worker,
            calls=self.calls,
            capacity=self._max_calls,
            draining=self.draining,
            loop_lag_ms=loop_lag_ms,
        )

    def _release_orphans(self) -> None:
        if not self._bus.connected:
            return
        for call_id, held in list(self._held.items()):
            silent = self._roster.silent_s(held.gateway)
            if silent is not None and silent > ORPHANED_AFTER_S:
                self._let_go(call_id, held.epoch, "gateway lost")
        self._roster.forget(2 * ORPHANED_AFTER_S)

    async def drain(self, timeout_s: float) -> None:
        """Take no more calls, wait up to `timeout_s` for those held to end, then give them up."""
        self.draining = True
        await self._offer()
        await self.pulse.send()
        waiting = asyncio.create_task(self._empty.wait())
        await asyncio.wait((waiting,), timeout=timeout_s)
        if not waiting.done():
            waiting.cancel()
            log.warning("drain_timed_out", stage=self.stage.name, calls=self.calls)
        for call_id in list(self._held):
            await self._release(call_id, "drained")
        self.pulse.stop()
        if self._closing:
            await asyncio.wait(self._closing)
