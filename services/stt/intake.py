"""A call's audio on its way to the provider: bounded, the oldest dropped, speech marks in their place."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Literal

from prometheus_client import Counter

from shared.audio import FRAME_MS
from shared.messages import AudioIn

DROPPED = Counter("trunkline_stt_frames_dropped_total", "Frames that the STT provider was too slow to take")

LONGEST_MS = 3000
"""Older audio is worthless to a conversation."""


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
        self._frames = 0
        self._most = longest_ms // FRAME_MS
        self._filled = asyncio.Event()

    def put(self, item: AudioIn | Mark) -> None:
        """Add a frame or a mark. A mark is never dropped: the provider must hear of each utterance's end."""
        if isinstance(item, AudioIn):
            if self._frames == self._most:
                self._drop_oldest()
            self._frames += 1
        self._items.append(item)
        self._filled.set()

    def _drop_oldest(self) -> None:
        oldest = next(index for index, item in enumerate(self._items) if isinstance(item, AudioIn))
        del self._items[oldest]
        self._frames -= 1
        DROPPED.inc()

    async def get(self) -> AudioIn | Mark:
        """The oldest item, as soon as there is one."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        item = self._items.popleft()
        if isinstance(item, AudioIn):
            self._frames -= 1
        return item
