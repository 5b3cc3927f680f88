"""What is counted too often for prometheus_client's own counter."""

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from shared import metrics
from shared.metrics import Tally


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
