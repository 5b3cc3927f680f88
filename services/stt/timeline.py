"""From the audio that a provider was fed to the caller's timeline: frames get lost, and calls are taken over. Pure."""

from collections import deque

_REMEMBERED = 64
_JITTER_MS = 20
"""Carriers' timestamps wobble; a lost frame is a jump of at least one."""


class Timeline:
    """Where fed audio lies on the caller's timeline."""

    def __init__(self) -> None:
        """Nothing was fed."""
        self._fed_ms = 0.0
        self._shifts: deque[tuple[float, float]] = deque([(0.0, 0.0)], maxlen=_REMEMBERED)
        """(position in the fed audio, what to add from there on), both in ms."""

    def feed(self, timestamp_ms: int, duration_ms: float) -> None:
        """Audio was fed that begins at `timestamp_ms` on the caller's timeline."""
        shift = timestamp_ms - self._fed_ms
        if abs(shift - self._shifts[-1][1]) >= _JITTER_MS:
            self._shifts.append((self._fed_ms, shift))
        self._fed_ms += duration_ms

    def locate(self, fed_ms: int) -> int:
        """The place of `fed_ms`, counted in fed audio, on the caller's timeline."""
        for begin, shift in reversed(self._shifts):
            if begin <= fed_ms:
                return round(fed_ms + shift)
        return round(fed_ms + self._shifts[0][1])
