"""The carrier's short frames, joined into fewer messages. Pure.

A message costs each process that it passes the same, whatever its length. Where the caller speaks, or has just spoken,
messages are short, because somebody waits for them. In a silence nobody does: its messages are long, and the first
frame with a sound in it ends the one that is open.
"""

from shared.audio import duration_ms, is_faint

JOINED_MS = 40
"""So much audio makes a message: two of Twilio's frames."""
LONG_MS = 200
"""The same in a silence, and for audio that waits for its worker anyway."""
_SILENCE_MS = 1000
"""After so much without a sound it is a silence: until then the end of the caller's turn is being judged."""


class Joining:
    """Frames that adjoin on the caller's timeline, on their way to become one."""

    def __init__(self) -> None:
        """Empty."""
        self.begins_ms = 0
        self.ends_ms = 0
        """Where the newest frame ends."""
        self._frames: list[bytes] = []
        self._faint_ms = 0
        """How long there was no sound."""

    def __len__(self) -> int:
        """How many frames there are."""
        return len(self._frames)

    @property
    def length_ms(self) -> int:
        """How long they play together."""
        return self.ends_ms - self.begins_ms if self._frames else 0

    @property
    def wanted_ms(self) -> int:
        """How long they may become."""
        return LONG_MS if self._faint_ms > _SILENCE_MS else JOINED_MS

    def adjoins(self, timestamp_ms: int) -> bool:
        """Whether a frame that begins at `timestamp_ms` can be joined to those that are here."""
        return not self._frames or timestamp_ms == self.ends_ms

    def add(self, timestamp_ms: int, mulaw: bytes) -> None:
        """A frame that adjoins."""
        if not self._frames:
            self.begins_ms = timestamp_ms
        self._frames.append(mulaw)
        length_ms = duration_ms(mulaw)
        self.ends_ms = timestamp_ms + length_ms
        self._faint_ms = self._faint_ms + length_ms if is_faint(mulaw) else 0

    def take(self) -> bytes:
        """Their audio; empty after that."""
        joined = b"".join(self._frames)
        self._frames.clear()
        return joined
