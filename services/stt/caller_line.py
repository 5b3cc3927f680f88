"""The newest audio of the caller's line, found by its place on the caller's timeline. Pure."""

from shared.audio import FRAME_MS, SILENCE, bytes_of, duration_ms
from shared.loudness import last_audible

_KEPT_MS = 3000
_TAIL_MS = 96
"""So long after the last sound the VAD may still hear speech: three windows."""


class CallerLine:
    """What came from one caller, some seconds of it."""

    def __init__(self) -> None:
        """Nothing has come."""
        self._audio = bytearray()
        self._end_ms = 0

    def add(self, timestamp_ms: int, mulaw: bytes) -> None:
        """The next frame; lost ones count as silence, and a jump back is another line."""
        missing_ms = timestamp_ms - self._end_ms
        if missing_ms <= -FRAME_MS or missing_ms > _KEPT_MS:
            self._audio.clear()
        elif missing_ms >= FRAME_MS:
            self._audio.extend(SILENCE * bytes_of(missing_ms))
        self._audio.extend(mulaw)
        self._end_ms = timestamp_ms + duration_ms(mulaw)
        if len(self._audio) > 2 * bytes_of(_KEPT_MS):
            del self._audio[: -bytes_of(_KEPT_MS)]

    def clear(self) -> None:
        """Another line took over."""
        self._audio.clear()
        self._end_ms = 0

    def before(self, to_ms: int, length_ms: int) -> bytes:
        """The audio of `length_ms` that ends at `to_ms`, or as much of it as is kept."""
        end = len(self._audio) - bytes_of(self._end_ms - to_ms)
        return bytes(self._audio[max(0, end - bytes_of(length_ms)) : max(0, end)])

    def last_sound(self, t_ms: int) -> int:
        """Where the last sound ended that could be heard before `t_ms`, at which the VAD heard speech end."""
        tail = self.before(t_ms, _TAIL_MS)
        last = last_audible(tail)
        return t_ms if last is None else t_ms - duration_ms(tail[last + 1 :])
