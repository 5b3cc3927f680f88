"""Readiness: for a load balancer, and for whoever looks after the workers."""

import pytest
from fastapi import Response

from services.gateway.calls import CallStore
from services.gateway.leases import LeaseDesk
from services.gateway.status import StatusRoutes
from services.gateway.switchboard import Switchboard
from shared.agents import AgentsFile
from shared.memory_bus import MemoryBus
from shared.messages.worker import Heartbeat
from shared.roster import Roster
from tests.fakes import ROOT


def beat(stage: str, *, draining: bool = False) -> Heartbeat:
    return Heartbeat(stage=stage, worker=f"{stage}-1", calls=0, capacity=2, draining=draining, loop_lag_ms=0)


@pytest.mark.parametrize(
    ("connected", "draining", "beats", "status", "missing"),
    [
        (True, False, [beat("stt"), beat("llm"), beat("tts")], 200, []),
        (True, False, [beat("stt"), beat("llm", draining=True)], 200, ["llm", "tts"]),
        (True, False, [], 200, ["stt", "llm", "tts"]),
        (False, False, [beat("stt"), beat("llm"), beat("tts")], 503, []),
        (True, True, [beat("stt"), beat("llm"), beat("tts")], 503, []),
    ],
    ids=["whole", "stages missing", "alone", "no broker", "draining"],
)
async def test_ready_tells_of_the_gateway_and_missing_of_the_workers(
    connected: bool, draining: bool, beats: list[Heartbeat], status: int, missing: list[str]
) -> None:
    bus, roster, agents = MemoryBus(), Roster(), AgentsFile(ROOT / "agents.yaml")
    store = await CallStore.open(bus)
    switchboard = Switchboard(bus, store, LeaseDesk(bus, "gw-1", 1.0, roster), roster, agents, "gw-1", b"", 60)
    bus.connected, switchboard.draining = connected, draining
    for heard in beats:
        roster.note(heard)
    response = Response()
    said = await StatusRoutes(bus, roster, agents, switchboard).ready(response)
    assert (response.status_code, said["ready"], said["missing"]) == (status, status == 200, missing)
