"""All faults, as data."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from simulator.chaos import strikes
from simulator.chaos.needs import Needs
from simulator.chaos.strikes import Strike

STAGES = ("stt", "llm", "tts", "speech")
ROLES = ("stt", "llm", "tts")
PROVIDER_FAULTS = ("hang", "429", "500", "drop", "garbage")

_CASCADE = Needs(gateways=2, stages=STAGES)
_CLUSTER = Needs(brokers=3)
_VENDORS = Needs(vendors=True)
_PAIRS = Needs(gateways=2, vendors=True)


@dataclass(frozen=True, slots=True)
class Entry:
    """One fault."""

    name: str
    what: str
    """For people."""
    needs: Needs
    strike: Strike
    agent: str = "bella"
    limit_s: float = 90.0
    """The calls are given up after so long."""


def _stage(stage: str) -> list[Entry]:
    agent = "echo" if stage == "speech" else "bella"
    return [
        Entry(f"{stage}-kill", f"SIGKILL of one of two {stage} workers", _CASCADE, strikes.kill(stage), agent),
        Entry(f"{stage}-stop", f"SIGSTOP of a {stage} worker for 5 s", _CASCADE, strikes.freeze(stage), agent),
        Entry(f"{stage}-drain", f"SIGTERM to a {stage} worker", _CASCADE, strikes.drain(stage), agent),
    ]


def _provider(role: str, fault: str) -> Entry:
    what = f"the {role} provider fails for 8 s: {fault}"
    return Entry(f"{role}-provider-{fault}", what, _VENDORS, strikes.provider(role, fault))


CATALOGUE: tuple[Entry, ...] = (
    Entry("none", "no fault, for comparison", _CASCADE, strikes.nothing),
    *(entry for stage in STAGES for entry in _stage(stage)),
    Entry("gateway-kill", "SIGKILL of one of two gateways", _CASCADE, strikes.kill("gateway")),
    Entry("gateway-drain", "SIGTERM to one of two gateways", _CASCADE, strikes.drain("gateway")),
    Entry("rolling", "every process replaced, one after the other", _CASCADE, strikes.roll, limit_s=240.0),
    Entry("broker-restart", "SIGKILL of the only broker, back after 2 s", _CASCADE, strikes.restart_broker),
    Entry("broker-pause", "SIGSTOP of the only broker for 1.5 s", _CASCADE, strikes.pause_broker),
    Entry("broker-node", "SIGKILL of one of three brokers", _CLUSTER, strikes.kill_node),
    Entry("none-vendors", "no fault, vendors' SDKs, for comparison", _VENDORS, strikes.nothing),
    Entry("rolling-vendors", "every process replaced, vendors' SDKs", _PAIRS, strikes.roll, limit_s=240.0),
    *(_provider(role, fault) for role in ROLES for fault in PROVIDER_FAULTS),
)


def chosen(patterns: Sequence[str]) -> list[Entry]:
    """The faults whose names match one of the globs, in the catalogue's order; all for none.

    Raises KeyError for a glob that matches nothing.
    """
    for pattern in patterns:
        if not any(fnmatchcase(entry.name, pattern) for entry in CATALOGUE):
            raise KeyError(pattern)
    return [entry for entry in CATALOGUE if not patterns or any(fnmatchcase(entry.name, p) for p in patterns)]
