"""A call's audio on its way to the provider: bounded, the oldest dropped, speech marks in their place."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Literal

from prometheus_client import Counter

from shared.audio import FRAME_BYTES, bytes_of
from shared.messages import AudioIn

DROPPED = Counter("trunkline_stt_frames_dropped_total", "Frames (20 ms) that the STT provider was too slow to take")

LONGEST_MS = 3000
"""Older audio is worthless to a conversation."""
_LONGEST_KEPT_MS = 30_000
"""So much more may wait of what the gateway kept while no worker had the call."""


@dataclass(frozen=True, slots=True)
class Mark:
    """An utterance begins, or has ended, in the audio around it."""

    kind: Literal["begin", "finish"]
    utterance: int


class Intake:
    """Frames and marks in order, for one reader."""

    def __init__(self, longest_ms: int = LONGEST_MS) -> None:
        """Empty."""
        self._items: deque[AudioIn | Mark] = deque()
        self._bytes = 0
        """How much audio waits."""
        self._longest = bytes_of(longest_ms)
        self._most = self._longest
        self._filled = asyncio.Event()

    def put(self, frame: AudioIn, *, kept: bool = False) -> None:
        """Add a frame of any length.

        `kept`: it comes from a burst of audio that nobody heard yet.
        """
        if kept:
            self._most = self._longest + bytes_of(_LONGEST_KEPT_MS)
        elif not self._bytes:
            # The reader has caught up.
            self._most = self._longest
        self._bytes += len(frame.payload)
        while self._bytes > self._most and self._bytes > len(frame.payload):
            self._drop_oldest()
        self._items.append(frame)
        self._filled.set()

    def mark(self, mark: Mark, at_ms: int | None = None) -> None:
        """Add a mark behind the frame that reaches `at_ms` on the caller's timeline; None: behind all that waits.

        It is never dropped: the provider must hear of each utterance's end.
        """
        place = len(self._items)
        while at_ms is not None and place and _begins(self._items[place - 1], at_ms):
            place -= 1
        self._items.insert(place, mark)
        self._filled.set()

    def _drop_oldest(self) -> None:
        index, frame = next((index, item) for index, item in enumerate(self._items) if isinstance(item, AudioIn))
        del self._items[index]
        self._bytes -= len(frame.payload)
        DROPPED.inc(len(frame.payload) / FRAME_BYTES)

    async def filled(self) -> None:
        """Return when there is something to take."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()

    def take(self) -> AudioIn | Mark:
        """The oldest item; there is one."""
        item = self._items.popleft()
        if isinstance(item, AudioIn):
            self._bytes -= len(item.payload)
        return item


def _begins(item: AudioIn | Mark, at_ms: int) -> bool:
    """Whether it is a frame that begins at `at_ms` or later."""
    return isinstance(item, AudioIn) and item.timestamp_ms >= at_ms
