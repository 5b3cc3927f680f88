"""What the caller says, cut into frames on an absolute clock. Pure: time is passed in."""

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from shared.audio import FRAME_BYTES, FRAME_MS, SILENCE
from shared.pcm import audible
from simulator.wire import SILENT_FRAME

_FRAME_S = FRAME_MS / 1000


class FrameClock:
    """When frames leave: frame n at `start` + n · 20 ms, however late the loop ran before."""

    def __init__(self, start: float) -> None:
        """`start` in seconds of the clock that `due` is asked with."""
        self._start = start
        self._sent = 0

    def due(self, now: float) -> int:
        """How many frames should have left by `now` and have not; they count as sent."""
        # A nanosecond forgives what floating point loses in n * 20 ms.
        missing = int((now - self._start + 1e-9) // _FRAME_S) + 1 - self._sent
        self._sent += max(0, missing)
        return max(0, missing)

    @property
    def next_at(self) -> float:
        """When the next frame leaves."""
        return self._start + self._sent * _FRAME_S


@dataclass(frozen=True, slots=True)
class Spoken:
    """When something was said."""

    began: float
    """Its first frame left."""
    ended: float
    """The frame with the last sample that can be heard left."""
    times: tuple[float, ...] = ()
    """When each frame left from the first to the last one that can be heard; empty when none can."""

    def voice_at(self, ms: int) -> float:
        """When `ms` of its audible part had left, or all of it when it is shorter."""
        if not self.times:
            return self.ended
        frames = min(max(1, math.ceil(ms / FRAME_MS)), len(self.times))
        return self.times[frames - 1]


@dataclass(slots=True)
class Utterance:
    """Something being said; `done` comes true when its last frame left."""

    frames: deque[bytes]
    audible: list[bool]
    """Which of its frames can be heard."""
    done: "asyncio.Future[Spoken]"
    times: list[float] = field(default_factory=list)
    """When its frames left."""

    def finish(self, at: float) -> None:
        """It is over at `at`: tell what was said of it."""
        if self.done.done():
            return
        left = self.audible[: len(self.times)]
        began, ended = (self.times[0], self.times[-1]) if self.times else (at, at)
        heard: list[float] = []
        if True in left:
            heard = self.times[left.index(True) : len(left) - left[::-1].index(True)]
            ended = heard[-1]
        self.done.set_result(Spoken(began, ended, tuple(heard)))


class Mouth:
    """The queue of what the caller is going to say."""

    def __init__(self) -> None:
        """Silent at first."""
        self._queue: deque[Utterance] = deque()
        self._leaving: Utterance | None = None
        """Whose frame is being sent."""

    def say(self, mulaw: bytes, done: "asyncio.Future[Spoken]") -> None:
        """Say `mulaw` after what is queued. Raises ValueError when it holds no sample."""
        if not mulaw:
            raise ValueError("nothing to say: the audio is empty")
        cuts = range(0, len(mulaw), FRAME_BYTES)
        frames = deque(mulaw[at : at + FRAME_BYTES].ljust(FRAME_BYTES, SILENCE) for at in cuts)
        heard = np.any(audible(b"".join(frames)).reshape(-1, FRAME_BYTES), axis=1)
        self._queue.append(Utterance(frames, heard.tolist(), done))

    def next_frame(self) -> bytes:
        """The 20 ms to send now."""
        self._leaving = self._queue[0] if self._queue else None
        if self._leaving is None:
            return SILENT_FRAME
        frame = self._leaving.frames.popleft()
        if not self._leaving.frames:
            self._queue.popleft()
        return frame

    def left(self, at: float) -> None:
        """The frame of `next_frame` was sent at `at`."""
        utterance, self._leaving = self._leaving, None
        if utterance is None:
            return
        utterance.times.append(at)
        if not utterance.frames:
            utterance.finish(at)

    def hush(self, at: float) -> None:
        """Stop talking at `at`: drop what is queued; whoever waits is told what was said of it."""
        for utterance in self._queue:
            utterance.frames.clear()
            # A frame on its way is still said, and ends what it belongs to.
            if utterance is not self._leaving:
                utterance.finish(at)
        self._queue.clear()

    def abandon(self, reason: Exception) -> None:
        """Nothing more can be said: whoever waits is told `reason`."""
        leaving = [] if self._leaving is None else [self._leaving]
        for utterance in (*leaving, *self._queue):
            if not utterance.done.done():
                utterance.done.set_exception(reason)
                # Not everybody waits; nothing is to be logged for those who do not.
                utterance.done.exception()
        self._queue.clear()
        self._leaving = None
