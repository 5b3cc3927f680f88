"""What the gateway tells everybody about itself: health and readiness. And the live calls, for operators."""

import asyncio
from collections.abc import Callable

from fastapi import APIRouter, Response
from pydantic import BaseModel

from services.gateway.calls import CallRecord, CallStore
from services.gateway.switchboard import Switchboard
from shared.agents import AgentsFile
from shared.bus import Bus
from shared.roster import Roster


class LiveCall(BaseModel):
    """A call as `GET /calls` and `nats req gateway.calls ''` show it."""

    call_id: str
    caller: str
    dialled: str
    agent: str
    state: str
    gateway: str
    started_at: float
    workers: dict[str, str]

    @classmethod
    def of(cls, record: CallRecord) -> "LiveCall":
        """The parts of a record that people want to see."""
        return cls(
            **record.model_dump(include={"call_id", "caller", "dialled", "state", "gateway", "started_at"}),
            agent=record.profile.name,
            workers={stage: lease.worker for stage, lease in record.leases.items()},
        )


async def live_calls(store: CallStore) -> bytes:
    """The live calls as a JSON array."""
    calls = [LiveCall.of(record).model_dump_json() for record in await store.live()]
    return f"[{','.join(calls)}]".encode()


class StatusRoutes:
    """`/health` and `/ready`, open to all."""

    def __init__(
        self,
        bus: Bus,
        roster: Roster,
        agents: AgentsFile,
        switchboard: Switchboard,
        breakers: Callable[[], dict[str, str]] = dict,
    ) -> None:
        """What the answers are made of; `breakers` gives the state of each provider's circuit breaker."""
        self._bus = bus
        self._roster = roster
        self._agents = agents
        self._switchboard = switchboard
        self._breakers = breakers
        self.router = APIRouter()
        self.router.add_api_route("/health", self.health, methods=["GET"])
        self.router.add_api_route("/ready", self.ready, methods=["GET"])

    async def health(self) -> dict[str, object]:
        """The process lives, and which providers the fleet may ask."""
        return {"status": "alive", "breakers": self._breakers()}

    async def ready(self, response: Response) -> dict[str, object]:
        """Whether a load balancer may send calls here: the broker is there, and this gateway does not drain.

        `missing` are the default agent's stages without a worker. Every gateway misses them, and a caller who is
        answered hears at least a sentence.
        """
        workers = {stage: len(self._workers(stage)) for stage in self._stages()}
        needed = self._agents.directory.by_number("").stages
        ready = self._bus.connected and not self._switchboard.draining
        response.status_code = 200 if ready else 503
        return {
            "ready": ready,
            "broker": self._bus.connected,
            "workers": workers,
            "missing": [stage for stage in needed if not workers[stage]],
            "draining": self._switchboard.draining,
            "calls": len(self._switchboard.lines),
            "tasks": len(asyncio.all_tasks()),
        }

    def _stages(self) -> list[str]:
        return sorted({stage for agent in self._agents.directory.agents for stage in agent.stages})

    def _workers(self, stage: str) -> list[str]:
        return [beat.worker for beat in self._roster.alive(stage) if not beat.draining]
