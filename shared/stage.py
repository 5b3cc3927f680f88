"""Leases, on the worker's side: one mechanism for every stage.

A worker joins the queue group of `lease.<stage>` while it has a free slot, does not drain and does not shed load.
Its own subject `lease.<stage>.<worker>` it answers as long as it lives, with the same rules, and so it does
`knock.<stage>.<worker>`: whoever hears nothing there knows that the worker is gone. It grants a lease after it has
subscribed to the call's subjects, and beats.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import structlog
from pydantic import ValidationError

from shared import subjects
from shared.bus import Bus, Subscription
from shared.call import Call
from shared.holdings import Holdings, Revoked, Session
from shared.messages.lease import LeaseReply, LeaseRequest
from shared.messages.worker import Heartbeat
from shared.pulse import Pulse
from shared.roster import Roster
from shared.shedding import Shedding

log = structlog.get_logger()

_FORGET_AFTER_S = 60.0


class CannotServe(Exception):
    """The stage cannot serve this call (no key, an unknown voice, …); the message says what to do."""


class Stage(Protocol):
    """What a service adds: it knows nothing of leases."""

    @property
    def name(self) -> str:
        """The stage's name in subjects: stt, llm, tts or speech."""

    async def open(self, call: Call) -> Session:
        """Subscribe to the call's subjects and get ready. Raises CannotServe."""


@runtime_checkable
class ClosingStage(Stage, Protocol):
    """A stage whose calls share something that ends with the worker."""

    async def close(self) -> None:
        """No call is open any more."""


class StageWorker:
    """One worker process of a stage and the calls it holds."""

    def __init__(
        self,
        bus: Bus,
        stage: Stage,
        worker: str,
        max_calls: int,
        roster: Roster | None = None,
        shed_lag_ms: float = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`worker` is this process's id, unique in the fleet and fit for a subject.

        `shed_lag_ms`: an event loop that lags by more takes no new calls; 0: it always does.
        """
        self.worker = worker
        self.stage = stage
        self.draining = False
        self._bus = bus
        self._max_calls = max_calls
        self._roster = roster or Roster()
        self._holdings = Holdings(
            bus, stage.name, lambda call: self.stage.open(call), self._roster, self._changed, clock
        )
        self._shedding = Shedding(shed_lag_ms)
        self._doors: list[Subscription] = []
        self._queue: Subscription | None = None
        self._changing = asyncio.Lock()
        self.pulse = Pulse(bus, self._beat, self.on_beat)
        self._offers: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def calls(self) -> int:
        """Slots in use, calls being opened included."""
        return len(self._holdings)

    @property
    def shedding(self) -> bool:
        """Whether it takes no new calls because its event loop lags."""
        return self._shedding.active

    async def start(self) -> None:
        """Answer at the worker's own subjects, join the queue group and begin to beat."""
        # Only the gateways' silence means something to a worker.
        await self._roster.listen(self._bus, "gateway")
        name, own = self.stage.name, self.worker
        self._doors = [
            await self._bus.respond(subjects.knock(name, own), self._on_knock, queue=own),
            await self._bus.respond(subjects.lease_of(name, own), self._answer, queue=own),
        ]
        await self._offer()
        self.pulse.start()

    async def _on_knock(self, payload: bytes) -> bytes:
        return b""

    async def _offer(self) -> None:
        """Be in the queue group exactly while a new call could be taken."""
        async with self._changing:
            wanted = not self.draining and not self.shedding and self.calls < self._max_calls
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
        held = self._holdings.find(request.call_id)
        # A call that it holds already needs no slot: it is leased anew, full or not.
        full = held is None and (self.shedding or self.calls >= self._max_calls)
        if self.draining or full or (held is not None and held.session is None):
            return LeaseReply(state="busy", worker=self.worker)
        if held is not None and held.epoch >= request.epoch:
            return self._refuse("a newer lease exists")
        try:
            await self._holdings.open(request)
        except Revoked as error:
            log.info("lease_revoked", call_id=request.call_id, stage=self.stage.name, reason=str(error))
            return LeaseReply(state="busy", worker=self.worker)
        except CannotServe as error:
            log.warning("lease_refused", call_id=request.call_id, stage=self.stage.name, reason=str(error))
            return self._refuse(str(error))
        except Exception as error:
            # Unanswered, the gateway would wait for its time-out while the caller hears the phone ring.
            log.exception("lease_failed", call_id=request.call_id, stage=self.stage.name)
            return self._refuse(f"{type(error).__name__}: {error}")
        log.info("lease_granted", call_id=request.call_id, stage=self.stage.name, epoch=request.epoch)
        return LeaseReply(state="granted", worker=self.worker)

    def _refuse(self, reason: str) -> LeaseReply:
        return LeaseReply(state="refused", worker=self.worker, reason=reason)

    def _changed(self) -> None:
        if self.calls == 0:
            self._empty.set()
        else:
            self._empty.clear()
        task = asyncio.create_task(self._offer())
        self._offers.add(task)
        task.add_done_callback(self._offers.discard)

    def _beat(self, loop_lag_ms: float) -> Heartbeat:
        return Heartbeat(
            stage=self.stage.name,
            worker=self.worker,
            calls=self.calls,
            capacity=self._max_calls,
            draining=self.draining,
            loop_lag_ms=loop_lag_ms,
            shedding=self.shedding,
            gaps=self._bus.gaps,
        )

    def on_beat(self) -> None:
        """Run with each heartbeat: judges the load and the leases."""
        lag_ms = self.pulse.loop_lag_ms
        if self._shedding.note(lag_ms):
            event = "shedding_began" if self.shedding else "shedding_ended"
            log.warning(event, stage=self.stage.name, loop_lag_ms=round(lag_ms), calls=self.calls)
            self._changed()
        self._holdings.look_after()
        if self._bus.connected:
            self._roster.forget(_FORGET_AFTER_S)

    async def drain(self, timeout_s: float) -> None:
        """Take no more calls, wait up to `timeout_s` for those held to end or move on, then give them up.

        The gateways hear of the drain with the next beat, which goes out at once, and lease the calls elsewhere.
        """
        self.draining = True
        await self._offer()
        await self.pulse.send()
        waiting = asyncio.create_task(self._empty.wait())
        await asyncio.wait((waiting,), timeout=timeout_s)
        if not waiting.done():
            waiting.cancel()
            log.warning("drain_timed_out", stage=self.stage.name, calls=self.calls)
        await self._holdings.close("drained")
        self.pulse.stop()
        for door in self._doors:
            await door.drain()
        while self._offers:
            await asyncio.wait(self._offers)
