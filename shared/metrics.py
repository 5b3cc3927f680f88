"""Prometheus metrics that every service exports."""

from prometheus_client import Counter, Gauge, Histogram

CALLS = Gauge("trunkline_calls", "Calls held by this process", ["stage"])
CAPACITY = Gauge("trunkline_capacity", "Calls this process may hold", ["stage"])
LOOP_LAG = Gauge("trunkline_event_loop_lag_seconds", "How late the event loop ran since the last heartbeat", ["stage"])
SHEDDING = Gauge("trunkline_shedding", "1 while this process takes no new calls because its event loop lags", ["stage"])
CALLS_ENDED = Counter("trunkline_calls_ended_total", "Calls that ended", ["reason"])
LEASES = Counter("trunkline_leases_total", "Lease requests by outcome", ["stage", "outcome"])
TURNS = Histogram(
    "trunkline_turn_seconds",
    "Where a turn's time goes, from the caller's last speech sample to the first one that the caller hears",
    ["part"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0),
)
AUDIO_FRAMES = Counter("trunkline_audio_frames_total", "Audio frames by direction", ["direction"])
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
