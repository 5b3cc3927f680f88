"""The gateway's parts put together: bus, switchboard, carriers and the HTTP application."""

import time
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI

from services.gateway.calls import CallStore
from services.gateway.leases import LeaseDesk
from services.gateway.status import StatusRoutes, live_calls
from services.gateway.switchboard import Switchboard
from services.gateway.twilio.routes import TwilioRoutes
from services.gateway.twilio.signature import SignatureCheck
from shared import subjects
from shared.agents import AgentsFile
from shared.bus import Bus
from shared.messages.worker import Heartbeat
from shared.metrics import CALLS, LOOP_LAG
from shared.pulse import Pulse
from shared.roster import Roster
from shared.settings import Settings

APOLOGY = Path(__file__).parent / "sounds" / "sorry.ulaw"
_TOUCH_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway ready to be served."""

    app: FastAPI
    switchboard: Switchboard
    pulse: Pulse


async def build(bus: Bus, settings: Settings, gateway: str) -> Gateway:
    """Wire a gateway to the bus. Raises AgentsFileError."""
    agents = AgentsFile(settings.agents_file)
    store = await CallStore.open(bus)
    roster = Roster()
    await roster.listen(bus)
    desk = LeaseDesk(bus, gateway, settings.lease_timeout_s)
    switchboard = Switchboard(bus, store, desk, roster, agents, gateway, APOLOGY.read_bytes(), settings.max_call_s)

    async def answer_live_calls(payload: bytes) -> bytes:
        return await live_calls(store)

    await bus.respond(subjects.LIVE_CALLS, answer_live_calls, queue="gateway")
    pulse = Pulse(bus, lambda lag: _beat(switchboard, lag), _Duties(switchboard).run)
    CALLS.labels("gateway").set_function(lambda: len(switchboard.lines))
    LOOP_LAG.labels("gateway").set_function(lambda: pulse.loop_lag_ms / 1000)
    app = FastAPI(title="Trunkline gateway", openapi_url=None)
    app.include_router(StatusRoutes(bus, roster, agents, switchboard).router)
    signatures = SignatureCheck(settings.twilio_auth_token.get_secret_value(), settings.twilio_account_sid)
    app.include_router(TwilioRoutes(switchboard, signatures, settings.public_url).router)
    pulse.start()
    return Gateway(app, switchboard, pulse)


def _beat(switchboard: Switchboard, loop_lag_ms: float) -> Heartbeat:
    return Heartbeat(
        stage="gateway",
        worker=switchboard.gateway,
        calls=len(switchboard.lines),
        capacity=0,
        draining=switchboard.draining,
        loop_lag_ms=loop_lag_ms,
    )


class _Duties:
    """What a gateway does with every beat."""

    def __init__(self, switchboard: Switchboard) -> None:
        self._switchboard = switchboard
        self._touched_at = time.monotonic()

    def run(self) -> None:
        self._switchboard.check_stages()
        if time.monotonic() - self._touched_at >= _TOUCH_EVERY_S:
            self._touched_at = time.monotonic()
            self._switchboard.keep_alive()
