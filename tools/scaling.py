"""What many calls need, from what `make bench` measured: `python -m tools.scaling` makes docs/scaling.md's table."""

import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- model: begin -->", "<!-- model: end -->"
CALLS = (1_000, 10_000, 100_000)

FULL = 0.6
"""How much of its core a process may use when all pods are there: the rest is for bursts, and for those of a pod that
dies."""
BEATS_S = 4
"""Heartbeats of each process a second, heard by every gateway (shared/pulse.py)."""
KNOCKS_S, MOST_KNOCKS_S = 10, 200
"""Knocks of each gateway at each worker a second, and at all of them (services/gateway/knocking.py)."""
CALL_S = 180
"""A call's length, on average."""
RECORDS_PER_CALL, RECORDS_PER_TURN = 12, 9
"""What JetStream stores: events and puts of a call's beginning and end, and of each turn, as counted in the bench."""
TURNS_PER_MINUTE = 6
CARRIER_KB_S = 16.5
"""Twilio's media messages in one direction: 50 a second, each of 160 bytes in base64 and some 115 bytes around them."""
RECOGNISER_KB_S = 8
BROKER_MB = 150


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one call, as measured."""

    cpu_s_per_minute: Mapping[str, float]
    """By service."""
    mb: Mapping[str, float]
    messages_s: float
    kb_s: float
    """To and from the broker."""

    @classmethod
    def of(cls, bench: Mapping[str, Any]) -> "Costs":
        """From the JSON of `make bench`: its highest good level."""
        level = max((level for level in bench["levels"] if level["good"]), key=lambda level: level["calls"])
        calls = level["calls"]
        cpu, mb = (_without_sum(level[name]) for name in ("cpu_s_per_call_minute", "mb_per_call"))
        return cls(cpu, mb, level["messages_s"] / calls, 1000 * level["traffic_mb_s"] / calls)


def _without_sum(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if name != "sum"}


def cores(costs: Costs, service: str, calls: int) -> float:
    """Cores that are busy all the time."""
    return costs.cpu_s_per_minute[service] / 60 * calls


def pods(costs: Costs, service: str, calls: int) -> int:
    """Pods of one process and one core each, one more than must be."""
    return math.ceil(cores(costs, service, calls) / FULL) + 1


def rows(costs: Costs, calls: int) -> Iterator[tuple[str, str]]:
    """(what, how much) for so many calls at the same time."""
    workers = sum(pods(costs, stage, calls) for stage in ("stt", "llm", "tts"))
    gateways = pods(costs, "gateway", calls)
    for service in ("gateway", "stt", "llm", "tts"):
        yield f"{service} pods (1 core each, {FULL:.0%} full, one spare)", f"{pods(costs, service, calls):,}"
    yield "nats-server, busy cores", f"{cores(costs, 'nats', calls):,.1f}"
    yield "memory of all calls, GB", f"{sum(costs.mb.values()) * calls / 1000:,.1f}"
    yield "broker: messages of calls, k/s", f"{costs.messages_s * calls / 1000:,.0f}"
    yield "broker: traffic, Gbit/s in and out", f"{costs.kb_s * calls * 8 / 1e6:,.2f}"
    yield "broker: heartbeats delivered, k/s", f"{BEATS_S * (workers + gateways) * gateways / 1000:,.1f}"
    knocks = gateways * min(KNOCKS_S * workers, MOST_KNOCKS_S)
    yield "broker: knocks and answers, k/s", f"{2 * 2 * knocks / 1000:,.1f}"
    stored = calls * (RECORDS_PER_CALL / CALL_S + RECORDS_PER_TURN * TURNS_PER_MINUTE / 60)
    yield "JetStream: messages stored, k/s", f"{stored / 1000:,.1f}"
    yield "calls that begin, per second", f"{calls / CALL_S:,.0f}"
    yield "carrier, Gbit/s each way", f"{CARRIER_KB_S * calls * 8 / 1e6:,.2f}"
    yield "recogniser: streams; Gbit/s out", f"{calls:,}; {RECOGNISER_KB_S * calls * 8 / 1e6:,.2f}"
    yield "model: requests per second", f"{calls * TURNS_PER_MINUTE / 60:,.0f}"


def table(costs: Costs) -> Iterator[str]:
    """The model as Markdown."""
    yield "| | " + " | ".join(f"{calls:,} calls" for calls in CALLS) + " |"
    yield "| --- |" + " ---: |" * len(CALLS)
    for lines in zip(*(list(rows(costs, calls)) for calls in CALLS), strict=True):
        yield f"| {lines[0][0]} | " + " | ".join(value for _, value in lines) + " |"


def update(document: str, costs: Costs) -> str:
    """`document` with the table between its marks."""
    before, rest = document.split(BEGIN)
    return "\n".join([before + BEGIN, *table(costs), END + rest.split(END)[1]])


if __name__ == "__main__":
    measured = Costs.of(json.loads((DOCS / "bench.json").read_text()))
    path = DOCS / "scaling.md"
    path.write_text(update(path.read_text(), measured))
    sys.stdout.write("\n".join(table(measured)) + "\n")
