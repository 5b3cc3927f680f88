"""What is counted too often for prometheus_client's own counter, and what is told before it happens."""

import subprocess
import sys
from itertools import product
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from services.gateway.endings import Reason
from services.gateway.leases import EVERY_STAGE, OUTCOMES
from services.gateway.losses import Reason as Loss
from services.gateway.takeover import Outcome
from shared import metrics
from shared.metrics import Tally, from_zero
from tests.fakes import ROOT


def test_a_tally_reads_like_a_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, tallied = CollectorRegistry(), CollectorRegistry()
    monkeypatch.setattr(metrics, "REGISTRY", tallied)
    counter = Counter("frames_total", "Frames by direction", ["direction"], registry=plain)
    tally = Tally("frames_total", "Frames by direction", "direction")
    counter.labels("in").inc(3)
    counter.labels("out")
    tally.labels("in").count += 1
    tally.labels("in").count += 2
    tally.labels("out")
    assert told(tallied) == told(plain)
    assert tallied.get_sample_value("frames_total", {"direction": "in"}) == 3.0


def told(registry: CollectorRegistry) -> list[str]:
    """The metrics as they are read, without the moments of their beginning."""
    return [
        line.split(" 1.")[0] if "_created{" in line else line
        for line in generate_latest(registry).decode().splitlines()
    ]


def test_a_counter_begins_at_zero_with_each_combination_of_its_labels() -> None:
    registry = CollectorRegistry()
    counter = from_zero(Counter("falls_total", "", ["who", "where"], registry=registry), ["jack", "jill"], ["hill"])
    counter.labels("jill", "hill").inc()
    assert registry.get_sample_value("falls_total", {"who": "jack", "where": "hill"}) == 0.0
    assert registry.get_sample_value("falls_total", {"who": "jill", "where": "hill"}) == 1.0


def at_start(module: str) -> set[str]:
    """The samples of a process that has only loaded `module`."""
    code = f"import {module}, prometheus_client as client; print(client.generate_latest().decode())"
    run = [sys.executable, "-c", code]
    return set(subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines())


def test_a_gateway_tells_from_its_start_what_may_fail() -> None:
    samples = at_start("services.gateway.app")
    for reason in get_args(Reason):
        assert f'trunkline_calls_ended_total{{reason="{reason}"}} 0.0' in samples
    for reason in ("full", "caller_limit", "source_limit"):
        assert f'trunkline_calls_refused_total{{reason="{reason}"}} 0.0' in samples
    for stage, outcome in product(EVERY_STAGE, OUTCOMES):
        assert f'trunkline_leases_total{{outcome="{outcome}",stage="{stage}"}} 0.0' in samples
    for stage, loss, outcome in product(EVERY_STAGE, get_args(Loss), get_args(Outcome)):
        labels = f'outcome="{outcome}",reason="{loss}",stage="{stage}"'
        assert f"trunkline_takeovers_total{{{labels}}} 0.0" in samples


def test_a_worker_tells_nothing_of_a_gateways_counters() -> None:
    samples = " ".join(at_start("services.stt.__main__"))
    assert "trunkline_breaker" in samples
    for name in ("calls_ended", "calls_refused", "leases", "takeovers"):
        assert f"trunkline_{name}" not in samples
