"""The gateway's parts put together: bus, switchboard, carriers and the HTTP application."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from services.gateway.admission import Admission, free_places
from services.gateway.calls import CallStore
from services.gateway.fellows import Fellows
from services.gateway.keeper import Keeper
from services.gateway.knocking import Knocks
from services.gateway.leases import LeaseDesk
from services.gateway.limits import CallLimits
from services.gateway.losses import Judge
from services.gateway.operators import OperatorRoutes
from services.gateway.orphans import Orphans
from services.gateway.reception import Reception
from services.gateway.status import StatusRoutes, live_calls
from services.gateway.switchboard import Switchboard
from services.gateway.takeover import Patience, Takeovers
from services.gateway.twilio.media_server import MediaProtocol
from services.gateway.twilio.routes import TwilioRoutes
from services.gateway.twilio.signature import SignatureCheck
from services.gateway.twilio.sounds import SoundRoutes
from services.gateway.wakeups import Wakeups
from shared import subjects
from shared.agents import AgentsFile
from shared.breakers import Breakers
from shared.bus import Bus
from shared.messages.worker import Heartbeat
from shared.metrics import CALLS, LOOP_LAG
from shared.operator_key import OperatorKey
from shared.pulse import Pulse
from shared.roster import Roster
from shared.settings import Settings

_SOUNDS = Path(__file__).parent / "sounds"
APOLOGY = _SOUNDS / "sorry.ulaw"
MOMENT = _SOUNDS / "moment.ulaw"
_TOUCH_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway ready to be served."""

    app: FastAPI
    web_sockets: Callable[..., asyncio.BaseProtocol]
    switchboard: Switchboard
    pulse: Pulse
    fellows: Fellows
    breakers: Breakers


async def build(bus: Bus, settings: Settings, gateway: str) -> Gateway:
    """Wire a gateway to the bus. Raises AgentsFileError."""
    agents = AgentsFile(settings.agents_file)
    store = await CallStore.open(bus)
    roster = Roster(own=gateway)
    await roster.listen(bus)
    fellows = Fellows(roster, gateway)
    breakers = Breakers(settings)
    await breakers.open(bus)
    switchboard = _switchboard(bus, settings, gateway, agents, store, roster)
    await switchboard.endings.listen()
    await _tell_live_calls(bus, store)
    orphans = Orphans(fellows, store, switchboard.endings)
    pulse = Pulse(bus, lambda lag: _beat(bus, switchboard, lag), _Duties(switchboard, orphans).run)
    CALLS.labels("gateway").set_function(lambda: len(switchboard.lines))
    LOOP_LAG.labels("gateway").set_function(lambda: pulse.loop_lag_ms / 1000)
    reception = await _reception(bus, settings, agents, store, roster, switchboard)
    signatures = SignatureCheck(settings.twilio_auth_token.get_secret_value(), settings.twilio_account_sid)
    twilio = TwilioRoutes(switchboard, reception, signatures, settings.public_url)
    app = FastAPI(title="Trunkline gateway", openapi_url=None)
    for routes in (
        StatusRoutes(bus, roster, agents, switchboard, breakers.states),
        OperatorRoutes(OperatorKey(settings.api_key), store, switchboard.endings),
        twilio,
        SoundRoutes(),
    ):
        app.include_router(routes.router)
    pulse.start()
    wakeups = Wakeups(asyncio.get_running_loop().call_soon)
    web_sockets = partial(MediaProtocol, twilio.media, wakeups.arrived)
    return Gateway(app, web_sockets, switchboard, pulse, fellows, breakers)


def _switchboard(
    bus: Bus, settings: Settings, gateway: str, agents: AgentsFile, store: CallStore, roster: Roster
) -> Switchboard:
    """The switchboard, and the keeper that watches over its lines."""
    desk = LeaseDesk(bus, gateway, settings.lease_timeout_s, roster)
    knocks = Knocks(bus)
    judge = Judge(roster, knocks.misses, gateway, lambda: bus.gaps)
    switchboard = Switchboard(
        bus,
        store,
        desk,
        roster,
        agents,
        gateway,
        APOLOGY.read_bytes(),
        settings.max_call_s,
        moment=MOMENT.read_bytes(),
        judge=judge,
    )
    keeper = Keeper(bus, switchboard.lines, knocks, judge, Takeovers(bus, store, desk, judge, Patience()))
    switchboard.endings.spawn(keeper.run())
    return switchboard


async def _reception(
    bus: Bus, settings: Settings, agents: AgentsFile, store: CallStore, roster: Roster, switchboard: Switchboard
) -> Reception:
    admission = await Admission.open(
        bus,
        settings,
        lambda dialled: agents.directory.by_number(dialled).stages,
        lambda stages: free_places(roster, stages),
    )
    return Reception(bus, store, switchboard, admission, CallLimits(settings))


async def _tell_live_calls(bus: Bus, store: CallStore) -> None:
    async def answer(payload: bytes) -> bytes:
        return await live_calls(store)

    await bus.respond(subjects.LIVE_CALLS, answer, queue="gateway")


def _beat(bus: Bus, switchboard: Switchboard, loop_lag_ms: float) -> Heartbeat:
    return Heartbeat(
        stage="gateway",
        worker=switchboard.gateway,
        calls=len(switchboard.lines),
        capacity=0,
        draining=switchboard.draining,
        loop_lag_ms=loop_lag_ms,
        gaps=bus.gaps,
    )


class _Duties:
    """What a gateway does with every beat."""

    def __init__(self, switchboard: Switchboard, orphans: Orphans) -> None:
        self._switchboard = switchboard
        self._orphans = orphans
        self._touched_at = time.monotonic()

    def run(self) -> None:
        self._orphans.check()
        if time.monotonic() - self._touched_at >= _TOUCH_EVERY_S:
            self._touched_at = time.monotonic()
            self._switchboard.keep_alive()
