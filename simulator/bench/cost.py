"""What a level cost, from two looks at the processes. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

SYSTEM = ("gateway", "nats", "stt", "llm", "tts")
"""What is measured; the callers and the stand-ins are the load side."""
CALLERS, STANDINS = "callers", "standins"


@dataclass(frozen=True, slots=True)
class Look:
    """Counts since the processes started, by service (all processes of it together)."""

    at: float
    """Seconds, on the clock of the calls."""
    cpu_s: Mapping[str, float]
    rss_mb: Mapping[str, float]
    messages: int = 0
    """That came to the broker and that left it."""
    traffic_mb: float = 0.0
    """The same in MB."""
    core_busy_s: float = 0.0
    """Of all cores of the load side, whoever used them; 0 when the load side is not pinned."""


def service(label: str) -> str:
    """The service of a process, as rings label them: `stt-1` is `stt`."""
    return label.partition("-")[0]


def per_call_minute(before: Look, after: Look, call_s: float) -> dict[str, float]:
    """CPU seconds for a minute of a call, by service; `call_s` is how long all calls lasted in between, together."""
    if call_s <= 0:
        return {}
    return {name: (after.cpu_s[name] - before.cpu_s[name]) * 60 / call_s for name in _services(before, after)}


def memory_per_call(idle: Look, after: Look, calls: int) -> dict[str, float]:
    """MB that each call takes, by service."""
    return {name: (after.rss_mb[name] - idle.rss_mb[name]) / max(1, calls) for name in _services(idle, after)}


def _services(before: Look, after: Look) -> list[str]:
    return [name for name in SYSTEM if name in before.cpu_s and name in after.cpu_s]


def total(values: Mapping[str, float]) -> float:
    """Of the whole system."""
    return sum(values[name] for name in SYSTEM if name in values)


def share(before: Look, after: Look, *names: str) -> float:
    """How much of one core `names` took together, 0 to 1 and above."""
    spent = sum(after.cpu_s.get(name, 0.0) - before.cpu_s.get(name, 0.0) for name in names)
    return spent / (after.at - before.at) if after.at > before.at else 0.0


def load_share(before: Look, after: Look, cores: int) -> float:
    """How busy the core(s) of the load side were, 0 to 1; unpinned: the busier of its two processes, on one core."""
    if not cores:
        return max(share(before, after, CALLERS), share(before, after, STANDINS))
    seconds = (after.at - before.at) * cores
    busy = (after.core_busy_s - before.core_busy_s) / seconds if seconds > 0 else 0.0
    # Where the operating system does not tell of its cores, of its processes it does.
    return max(busy, share(before, after, CALLERS, STANDINS) / cores)


def overlap_s(start: float, end: float | None, before: Look, after: Look) -> float:
    """How long a call from `start` to `end` (None: it lasts) was live between the two looks."""
    until = after.at if end is None else min(end, after.at)
    return max(0.0, until - max(start, before.at))
