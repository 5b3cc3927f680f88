"""When nothing at all came from the caller. Pure."""

from shared.audio import FRAME_BYTES, duration_ms, is_faint, sound_of

_ONSET_MS = 300
"""A sound begins so long before the VAD finds speech in it, at most."""


class QuietLine:
    """The stretches without a sound on one caller's line: the newest that is over, and the one that lasts."""

    def __init__(self) -> None:
        """Nothing has come."""
        self._from_ms: int | None = None
        """None: there is sound now."""
        self._end_ms = 0
        self._last: tuple[int, int] | None = None

    def add(self, timestamp_ms: int, mulaw: bytes) -> None:
        """The next frames, as one; what was lost may have been sound. It was quiet for whole frames or not at all."""
        if timestamp_ms != self._end_ms:
            self.clear()
        self._end_ms = timestamp_ms + duration_ms(mulaw)
        if is_faint(mulaw):
            self._from_ms = timestamp_ms if self._from_ms is None else self._from_ms
            return
        begin, end = sound_of(mulaw)
        if begin >= FRAME_BYTES and self._from_ms is None:
            self._from_ms = timestamp_ms
        if self._from_ms is not None:
            self._last = (self._from_ms, timestamp_ms + duration_ms(mulaw[: begin - begin % FRAME_BYTES]))
            self._from_ms = None
        if quiet := (len(mulaw) - end) // FRAME_BYTES:
            self._from_ms = self._end_ms - duration_ms(mulaw[: quiet * FRAME_BYTES])

    def clear(self) -> None:
        """Another line took over."""
        self._from_ms = self._last = None

    def before(self, t_ms: int) -> tuple[int, int] | None:
        """From when to when it was quiet before the speech that begins at `t_ms`; None: it was not."""
        if self._last is None or not t_ms - _ONSET_MS <= self._last[1] <= t_ms + _ONSET_MS:
            return None
        return self._last
