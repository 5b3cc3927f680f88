"""The caller's last frames, kept for a worker that takes over. Pure."""

from collections import deque
from typing import NamedTuple

from shared.audio import FRAME_MS, bytes_of, duration_ms

LONGEST_MS = 30_000


class Frame(NamedTuple):
    """Audio that is published as one message."""

    seq: int
    timestamp_ms: int
    payload: bytes

    @property
    def end_ms(self) -> int:
        """Where it ends on the caller's timeline."""
        return self.timestamp_ms + duration_ms(self.payload)


class Recent:
    """A ring of frames with consecutive numbers, the oldest dropped."""

    def __init__(self, longest_ms: int = LONGEST_MS) -> None:
        """Empty."""
        self._frames: deque[Frame] = deque()
        self._most_bytes = bytes_of(longest_ms)
        # A carrier's frames have 20 ms; shorter ones must not fill the memory either.
        self._most_frames = longest_ms // FRAME_MS
        self._bytes = 0

    def keep(self, frame: Frame) -> None:
        """The next frame has come."""
        self._frames.append(frame)
        self._bytes += len(frame.payload)
        while self._bytes > self._most_bytes or len(self._frames) > self._most_frames:
            self._drop()

    def drop_before(self, ms: int) -> None:
        """Audio that ends at `ms` or before is of no use to anybody."""
        while self._frames and self._frames[0].end_ms <= ms:
            self._drop()

    def _drop(self) -> None:
        self._bytes -= len(self._frames.popleft().payload)

    def first_after(self, ms: int) -> int | None:
        """The `seq` of the first frame that ends after `ms`; None when there is none."""
        return next((frame.seq for frame in self._frames if frame.end_ms > ms), None)

    def first_from(self, seq: int) -> Frame | None:
        """The frame `seq`, or the oldest after it that is kept; None when there is none."""
        if not self._frames:
            return None
        place = max(0, seq - self._frames[0].seq)
        return self._frames[place] if place < len(self._frames) else None
