"""The reception: who is let through to the switchboard, and what the others meet. Knows nothing of carriers."""

from dataclasses import dataclass
from typing import Literal, get_args

import structlog

from services.gateway.admission import REFUSED, Admission, Meets
from services.gateway.calls import CallStore
from services.gateway.limits import CallLimits
from services.gateway.switchboard import Answer, Full, Switchboard
from shared.bus import Bus, BusError, Disconnected
from shared.metrics import from_zero

log = structlog.get_logger()

Origin = Literal["caller", "source"]
"""What calls come from, and may come from so often within a minute."""
_REASONS: dict[Origin, str] = {who: f"{who}_limit" for who in get_args(Origin)}
from_zero(REFUSED, _REASONS.values())


@dataclass(frozen=True, slots=True)
class TooMany:
    """The caller, or the source of the webhook, has placed too many calls within a minute."""

    who: Origin


Outcome = Answer | Meets | TooMany


class Reception:
    """Answers what rings at this gateway."""

    def __init__(
        self, bus: Bus, store: CallStore, switchboard: Switchboard, admission: Admission, limits: CallLimits
    ) -> None:
        """`limits` count this gateway's calls, `admission` is the fleet's."""
        self._bus = bus
        self._store = store
        self._switchboard = switchboard
        self._admission = admission
        self._limits = limits

    def stranger(self, source: str) -> bool:
        """A webhook that is not the carrier's came from `source`; False when too many did."""
        return self._limits.source(source)

    async def answer(self, call_id: str, caller: str, dialled: str, source: str) -> Outcome:
        """A call rings, its carrier asks again after its socket closed, or a caller waits. Raises BusError."""
        if not self._bus.connected:
            # Not after a time-out: the caller hears the phone ring.
            raise Disconnected("the broker cannot be reached")
        if await self._store.get(call_id) is not None:
            return await self._connect(call_id, caller, dialled)
        waits = await self._admission.waits(call_id)
        if not waits and (who := self._beyond_limit(caller, source)):
            log.warning("call_refused", call_id=call_id, reason=_REASONS[who])
            REFUSED.labels(_REASONS[who]).inc()
            return TooMany(who)
        if not await self._admission.may_try(call_id, dialled):
            return await self._admission.full(call_id, dialled)
        outcome = await self._connect(call_id, caller, dialled)
        if waits and not isinstance(outcome, Meets):
            await self.gone(call_id)
        return outcome

    def _beyond_limit(self, caller: str, source: str) -> Origin | None:
        if not self._limits.source(source):
            return "source"
        return None if self._limits.caller(caller) else "caller"

    async def _connect(self, call_id: str, caller: str, dialled: str) -> Answer | Meets:
        answer = await self._switchboard.answer(call_id, caller, dialled)
        return await self._admission.full(call_id, dialled) if isinstance(answer, Full) else answer

    async def over(self, call_id: str) -> None:
        """The carrier says that the call is over. Raises BusError."""
        await self._switchboard.endings.end(call_id, "caller_hung_up")
        await self._admission.left(call_id)

    async def gone(self, call_id: str) -> None:
        """The call waits no more."""
        try:
            await self._admission.left(call_id)
        except BusError as error:
            # The list forgets it by itself.
            log.warning("waiting_list_not_changed", call_id=call_id, error=str(error))
