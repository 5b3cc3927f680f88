"""The system of one level: a ring of its own, so that no level suffers from what the one before has left."""

import asyncio
import base64
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import yaml

from shared import nats_bus
from shared.agents import AgentProfile
from shared.bus import Bus
from shared.phrases import normalize
from shared.scenario import load as load_scenario
from simulator.bench.pins import Pins
from simulator.bench.script import Script, clips, scripts
from simulator.bench.told import Told
from simulator.carrier import Gateway
from simulator.commands import options
from simulator.conversation import Setup
from simulator.plan import CASCADE, Plan
from simulator.ring import Ring

_SPARE = 10
"""Calls that the workers could take besides: the one that warms them up may end a little later."""
_FEWEST = 25
_TAUGHT_AT_ONCE = 20
"""Clips in one request to the stand-ins."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What every level has in common."""

    told: Told = field(default_factory=Told)
    counts: Mapping[str, int] = field(default_factory=lambda: dict(CASCADE))
    """Processes by service."""
    pins: Pins = field(default_factory=Pins)
    seed: int = 1
    logs: Path | None = None

    def workers_max_calls(self, calls: int, *, exactly: bool) -> int:
        """MAX_CALLS of each worker; `exactly`: so that one more call than `calls` is too many."""
        fewest = min(count for name, count in self.counts.items() if name != "gateway")
        return math.ceil(calls / fewest) if exactly else max(_FEWEST, calls + _SPARE)

    def plan(self, calls: int, agents: Path, *, exactly: bool) -> Plan:
        """What to start; `agents` is the agents file."""
        env = {"AGENTS_FILE": str(agents), "MAX_CALLS": str(self.workers_max_calls(calls, exactly=exactly))}
        return Plan(
            counts=self.counts,
            env=env,
            standins=self.told.options,
            cores=self.pins.system,
            standins_cores=self.pins.load,
            monitored=True,
        )


@dataclass(slots=True)
class Site:
    """What calls need."""

    ring: Ring
    http: aiohttp.ClientSession
    bus: Bus
    setup: Setup
    scripts: list[Script]
    greeting: tuple[str, ...]
    """The agent's first words."""
    told: Told
    """With the endpointing of the agent."""
    cores: frozenset[int]
    """Where the system runs; none: anywhere."""


def without_speculation(agent: AgentProfile) -> dict[str, Any]:
    """An agents file with this agent alone, which prepares nothing before a turn is over."""
    turns = agent.turns.changed({"speculation": False})
    body = agent.model_copy(update={"turns": turns}).model_dump(mode="json", exclude={"name"}, exclude_defaults=True)
    return {"default": agent.name, "agents": {agent.name: body}}


@asynccontextmanager
async def opened(setting: Setting, calls: int, extra: int, progress: Callable[[str], None]) -> AsyncIterator[Site]:
    """The system for `calls` calls at the same time, and `extra` ones that are too many (0: more would fit).

    Raises ProcessFailed, shared.agents.AgentsFileError or simulator.commands.options.WrongUse.
    """
    agent, dialled = options.agent_named("")
    texts = await asyncio.to_thread(scripts, load_scenario(agent.scenario), calls + extra, setting.seed)
    with TemporaryDirectory(prefix="trunkline-bench-") as folder:
        agents = Path(folder) / "agents.yaml"
        agents.write_text(yaml.safe_dump(without_speculation(agent)))
        plan = setting.plan(calls, agents, exactly=extra > 0)
        # Every call holds a connection.
        connector = aiohttp.TCPConnector(limit=0)
        async with Ring(plan, setting.logs, progress) as ring, aiohttp.ClientSession(connector=connector) as http:
            await _teach(http, ring.standins_url, clips(texts))
            bus = await nats_bus.connect(ring.nats_url, "bench")
            url, *others = ring.urls
            setup = Setup(http, Gateway(url, ring.auth_token, fallbacks=others), dialled, bus)
            told = replace(setting.told, endpointing_ms=float(agent.turns.endpointing_ms))
            try:
                greeting = tuple(normalize(agent.greeting).split())
                yield Site(ring, http, bus, setup, texts, greeting, told, setting.pins.system)
            finally:
                await bus.close()


async def _teach(http: aiohttp.ClientSession, url: str, sounds: Mapping[str, bytes]) -> None:
    """The very clips of the callers: the stand-in recognises them byte for byte."""
    lessons: Sequence[dict[str, str]] = [
        {"text": text, "mulaw": base64.b64encode(mulaw).decode()} for text, mulaw in sounds.items()
    ]
    for start in range(0, len(lessons), _TAUGHT_AT_ONCE):
        lesson = {"clips": lessons[start : start + _TAUGHT_AT_ONCE]}
        async with http.post(f"{url}/standins/phrases", json=lesson) as response:
            response.raise_for_status()
