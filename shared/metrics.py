"""Prometheus metrics that every service exports."""

import time
from collections.abc import Iterable
from itertools import product

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector


class Count:
    """How often something happened."""

    def __init__(self) -> None:
        """Never."""
        self.count = 0


class Tally(Collector):
    """A counter for what happens thousands of times a second: plain numbers, which only the metrics' reader asks for.

    prometheus_client's own counter takes a lock each time. This one is for the thread of the event loop alone.
    """

    def __init__(self, name: str, documentation: str, label: str) -> None:
        """One label tells what is counted."""
        self._name = name
        self._documentation = documentation
        self._label = label
        self._counts: dict[str, tuple[Count, float]] = {}
        REGISTRY.register(self)

    def labels(self, value: str) -> Count:
        """The count of `value`, to be added to."""
        return self._counts.setdefault(value, (Count(), time.time()))[0]

    def collect(self) -> Iterable[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._documentation, labels=[self._label])
        for value, (counted, since) in self._counts.items():
            family.add_metric([value], counted.count, since)
        yield family


def from_zero(counter: Counter, *values: Iterable[str]) -> Counter:
    """`counter`, at 0 for each combination of its labels' `values`, one iterable for each label.

    A series that begins with its first event has no increase then, and a query misses that event.
    """
    for labels in product(*values):
        counter.labels(*labels)
    return counter


CALLS = Gauge("trunkline_calls", "Calls held by this process", ["stage"])
CAPACITY = Gauge("trunkline_capacity", "Calls this process may hold", ["stage"])
LOOP_LAG = Gauge("trunkline_event_loop_lag_seconds", "How late the event loop ran since the last heartbeat", ["stage"])
SHEDDING = Gauge("trunkline_shedding", "1 while this process takes no new calls because its event loop lags", ["stage"])
TURNS = Histogram(
    "trunkline_turn_seconds",
    "Where a turn's time goes, from the caller's last speech sample to the first one that the caller hears",
    ["part"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0),
)
AUDIO_FRAMES = Tally("trunkline_audio_frames_total", "Audio frames by direction", "direction")
PROVIDER_FAILURES = Counter(
    "trunkline_provider_failures_total", "What was asked of a provider and failed", ["role", "provider", "reason"]
)
"""role: stt, llm or tts. reason: of a small set, such as `timeout`, `connection` or `status_500`."""
PROVIDER_SWITCHES = Counter(
    "trunkline_provider_switches_total", "Times that a call went on with another provider", ["role", "from", "to"]
)
BREAKER_STATE = Gauge(
    "trunkline_breaker_state", "Circuit breaker of a provider: 0 closed, 1 half-open, 2 open", ["provider"]
)
BREAKER_TRIPS = Counter("trunkline_breaker_trips_total", "Times that this process opened a breaker", ["provider"])
