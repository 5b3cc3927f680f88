"""What processes cost."""

import resource
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used so far."""

    name: str
    cpu_s: float
    rss_mb: float


def own(name: str) -> Usage:
    """What this process has used; its memory at the highest."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return Usage(name, used.ru_utime + used.ru_stime, used.ru_maxrss / unit)
