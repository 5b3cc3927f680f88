"""How calls end: now, or after a while unless their carrier comes back; also while the broker is away."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Literal, get_args

import structlog
from prometheus_client import Counter

from services.gateway.calls import CallRecord, CallStore
from services.gateway.line import CallEnd, End
from services.gateway.lines import Lines
from shared import subjects
from shared.bus import Bus, BusError
from shared.channel import CallChannel
from shared.messages import CallEnded
from shared.metrics import from_zero

log = structlog.get_logger()

Reason = Literal[CallEnd, "never_connected", "operator", "stage_missing"]
"""Why a call ended."""

REDIAL_WITHIN_S = 10.0
"""A carrier whose socket broke asks the webhook again within this time, or the call is over."""
RETRY_S = 2.0
"""Between two tries to end a call while the broker is away."""
_ALL_ENDS = f"call.*.{CallEnded.suffix}"
_CALLS_ENDED = from_zero(Counter("trunkline_calls_ended_total", "Calls that ended", ["reason"]), get_args(Reason))


class Endings:
    """Ends calls, for good and for every stage."""

    def __init__(self, bus: Bus, store: CallStore, lines: Lines) -> None:
        """`lines` are those of this gateway; the line of a call that has ended is closed."""
        self._bus = bus
        self._store = store
        self._lines = lines
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self) -> None:
        """Close the lines of calls that are ended elsewhere: at another gateway, by an operator."""
        await self._bus.subscribe(_ALL_ENDS, self._on_ended)

    async def _on_ended(self, subject: str, payload: bytes) -> None:
        opened = self._lines.get(subjects.parse(subject).call_id)
        if opened is not None:
            opened.line.close("caller_hung_up")

    async def end(
        self, call_id: str, reason: Reason, still: Callable[[CallRecord], bool] = lambda record: True
    ) -> bool:
        """The call is over: every stage lets go. Raises BusError.

        False, and nothing happens, when the call is unknown or over, or its newest record is not `still` (a pure
        function) as expected.
        """
        ended = await self._store.change(
            call_id,
            lambda record: (
                record.model_copy(update={"state": "ended", "token_sha256": ""})
                if record.state != "ended" and still(record)
                else None
            ),
        )
        if ended is None:
            return False
        duration_ms = int((time.time() - ended.started_at) * 1000)
        log.info("call_ended", call_id=call_id, reason=reason, duration_ms=duration_ms)
        _CALLS_ENDED.labels(reason).inc()
        channel = CallChannel(self._bus, call_id, "gateway", ended.line)
        message = CallEnded(reason=reason, duration_ms=duration_ms)
        await self.surely(call_id, lambda: channel.send(message))
        opened = self._lines.get(call_id)
        if opened is not None:
            opened.line.close("caller_hung_up")
        return True

    async def settle(self, record: CallRecord, end: End) -> None:
        """What the end of a line means for its call."""
        if end in ("carrier_lost", "drained"):
            # A token that waits for its socket means that the carrier has come back.
            self._later(
                REDIAL_WITHIN_S, record.call_id, end, lambda now: now.line == record.line and not now.token_sha256
            )
        elif end != "taken_over":
            await self.surely(record.call_id, lambda: self.end(record.call_id, end))

    def later(self, after_s: float, call_id: str, line: int, reason: Reason) -> None:
        """End the call after a while unless a line newer than `line` was opened, here or elsewhere."""
        self._later(after_s, call_id, reason, lambda now: now.line == line)

    def _later(self, after_s: float, call_id: str, reason: Reason, still: Callable[[CallRecord], bool]) -> None:
        async def end_unless_connected() -> None:
            await self.surely(call_id, end)

        async def end() -> None:
            if call_id not in self._lines:
                await self.end(call_id, reason, still)

        loop = asyncio.get_running_loop()
        loop.call_later(after_s, lambda: self.spawn(end_unless_connected()))

    async def surely(self, call_id: str, work: Callable[[], Awaitable[object]]) -> None:
        """Do `work`; while the broker is away, again and again beside: the stages must hear of a call's end."""
        try:
            await work()
        except BusError as error:
            log.warning("broker_away_at_the_end", call_id=call_id, error=str(error))

            async def again() -> None:
                await asyncio.sleep(RETRY_S)
                await self.surely(call_id, work)

            self.spawn(again())

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Do `work` beside; it is cancelled by `stop`."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """The gateway stops: nothing more is waited for."""
        for task in self._tasks:
            task.cancel()
