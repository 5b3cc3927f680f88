"""What the caller says, cut into frames on an absolute clock. Pure: time is passed in."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from shared.audio import FRAME_BYTES, FRAME_MS, SILENCE
from simulator.playback import last_audible
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


@dataclass(slots=True)
class Utterance:
    """Something being said; `done` comes true when its last frame left."""

    frames: deque[bytes]
    voiced: int
    """How many frames from the first to the last one with sound."""
    done: "asyncio.Future[Spoken]"
    times: list[float] = field(default_factory=list)


class Mouth:
    """The queue of what the caller is going to say."""

    def __init__(self) -> None:
        """Silent at first."""
        self._queue: deque[Utterance] = deque()

    def say(self, mulaw: bytes, done: "asyncio.Future[Spoken]") -> None:
        """Say `mulaw` after what is queued. Raises ValueError when it holds no sample."""
        if not mulaw:
            raise ValueError("nothing to say: the audio is empty")
        cuts = range(0, len(mulaw), FRAME_BYTES)
        frames = deque(mulaw[at : at + FRAME_BYTES].ljust(FRAME_BYTES, SILENCE) for at in cuts)
        last = last_audible(mulaw)
        voiced = len(frames) if last is None else last // FRAME_BYTES + 1
        self._queue.append(Utterance(frames, voiced, done))

    def next_frame(self) -> bytes:
        """The 20 ms to send now."""
        return self._queue[0].frames.popleft() if self._queue else SILENT_FRAME

    def left(self, at: float) -> None:
        """The frame of `next_frame` was sent at `at`."""
        if not self._queue:
            return
        utterance = self._queue[0]
        utterance.times.append(at)
        if not utterance.frames:
            self._queue.popleft()
            if not utterance.done.done():
                utterance.done.set_result(Spoken(utterance.times[0], utterance.times[utterance.voiced - 1]))

    def abandon(self, reason: Exception) -> None:
        """Nothing more can be said: whoever waits is told `reason`."""
        for utterance in self._queue:
            if not utterance.done.done():
                utterance.done.set_exception(reason)
        self._queue.clear()
