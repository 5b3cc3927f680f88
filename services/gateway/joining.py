"""The carrier's short frames, joined into fewer messages. Pure.

A message costs each process that it passes the same, whatever its length.
"""

from shared.audio import duration_ms


class Joining:
    """Frames that adjoin on the caller's timeline, on their way to become one."""

    def __init__(self) -> None:
        """Empty."""
        self.begins_ms = 0
        self.ends_ms = 0
        """Where the newest frame ends."""
        self._frames: list[bytes] = []

    def __len__(self) -> int:
        """How many frames there are."""
        return len(self._frames)

    @property
    def length_ms(self) -> int:
        """How long they play together."""
        return self.ends_ms - self.begins_ms if self._frames else 0

    def adjoins(self, timestamp_ms: int) -> bool:
        """Whether a frame that begins at `timestamp_ms` can be joined to those that are here."""
        return not self._frames or timestamp_ms == self.ends_ms

    def add(self, timestamp_ms: int, mulaw: bytes) -> None:
        """A frame that adjoins."""
        if not self._frames:
            self.begins_ms = timestamp_ms
        self._frames.append(mulaw)
        self.ends_ms = timestamp_ms + duration_ms(mulaw)

    def take(self) -> bytes:
        """Their audio; empty after that."""
        joined = b"".join(self._frames)
        self._frames.clear()
        return joined
