"""The system that a fault needs: faults with the same needs can be tried on the same one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from simulator.plan import OFFLINE, ROOT, Plan

AGENTS = ROOT / "agents.yaml"
_BREAKER_OPEN_S = "3"
"""A provider that is well again is asked again before the next fault."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Equal needs, one ring."""

    gateways: int = 1
    stages: tuple[str, ...] = ("stt", "llm", "tts")
    workers: int = 2
    """Processes of each stage."""
    brokers: int = 1
    """nats-servers in a cluster."""
    vendors: bool = False
    """The vendors' SDKs against the stand-ins, with the offline providers to fall back on."""

    @property
    def counts(self) -> dict[str, int]:
        """Processes by service, as they are in health."""
        return {"gateway": self.gateways, **dict.fromkeys(self.stages, self.workers)}

    def __str__(self) -> str:
        """For people."""
        processes = ", ".join(f"{count} {name}" for name, count in {**self.counts, "nats": self.brokers}.items())
        return f"{processes}{', stand-ins' if self.vendors else ''}"

    def plan(self, calls: int, folder: Path) -> Plan:
        """What to start for so many calls; files that it needs go into `folder`."""
        env = {"MAX_CALLS": str(max(25, calls)), "AGENTS_FILE": str(AGENTS)}
        if not self.vendors:
            return Plan(self.counts, {**OFFLINE, **env}, nodes=self.brokers)
        agents = folder / "agents.yaml"
        agents.write_text(yaml.safe_dump(with_fallbacks(yaml.safe_load(AGENTS.read_text()))))
        env |= {"AGENTS_FILE": str(agents), "BREAKER_OPEN_S": _BREAKER_OPEN_S}
        return Plan(self.counts, env, standins=(), nodes=self.brokers)


def with_fallbacks(document: Mapping[str, object]) -> dict[str, object]:
    """An agents file whose cascades fall back on the offline provider in each role."""
    agents = document["agents"]
    if not isinstance(agents, dict):
        raise TypeError("agents: a mapping was expected")
    changed = {}
    for name, body in agents.items():
        roles = {role: {**body.get(role, {}), "fallbacks": [{"provider": "offline"}]} for role in ("stt", "llm", "tts")}
        changed[name] = {**body, **(roles if body.get("pipeline", "cascade") == "cascade" else {})}
    return {**document, "agents": changed}
