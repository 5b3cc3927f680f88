"""Whether a worker takes no more calls because its event loop lags. Pure."""

_BEATS = 3
"""One late beat is a pause of the machine; so many in a row are too much work."""


class Shedding:
    """Judges the lag of an event loop from beat to beat."""

    def __init__(self, lag_ms: float) -> None:
        """Load is shed above `lag_ms`, and taken again below half of it; 0: never shed."""
        self.active = False
        self._lag_ms = lag_ms
        self._beats = 0
        """How many beats in a row spoke for a change."""

    def note(self, lag_ms: float) -> bool:
        """The loop's lag at this beat; returns whether `active` has changed."""
        if not self._lag_ms:
            return False
        changes = lag_ms < self._lag_ms / 2 if self.active else lag_ms > self._lag_ms
        self._beats = self._beats + 1 if changes else 0
        if self._beats < _BEATS:
            return False
        self.active, self._beats = not self.active, 0
        return True
