"""One timer for all phones of an event loop: it calls each of them every 20 ms.

A timer for each phone would wake the loop 50 times a second for each call. Here phones share the wake-ups: the 20 ms
are cut into slots, and a phone is called in the first slot that comes after it began, ever after.
"""

import asyncio
import math
import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

from shared.audio import FRAME_MS

SLOT_MS = 2
"""A phone is called at most this much later than 20 ms after its last call was due."""
_SLOTS = FRAME_MS // SLOT_MS
_SLOT_S = SLOT_MS / 1000
_TIMER_S = 0.001
"""uvloop's timers count whole milliseconds; a shorter wait would be no wait."""


class Beat:
    """One phone's place on the wheel."""

    def __init__(self, slot: int, call: Callable[[], None]) -> None:
        """Use `Clockwork.start`."""
        self.slot = slot
        self.call = call
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets the exception that `call` raised, which is not called again; cancelled when the beat is stopped."""


class Wheel:
    """Who is called when. Pure: time is passed in, in seconds of any clock that never runs back.

    Tick k is at k · 2 ms; it is the turn of slot k modulo the number of slots.
    """

    def __init__(self, now: float) -> None:
        """Empty; what was before `now` is not asked for."""
        self._slots: list[dict[Beat, None]] = [{} for _ in range(_SLOTS)]
        self._done = math.ceil(now / _SLOT_S) - 1
        """The last tick that was handed out."""

    @staticmethod
    def slot_after(now: float) -> int:
        """The slot whose turn comes first at `now` or later."""
        return math.ceil(now / _SLOT_S) % _SLOTS

    def add(self, beat: Beat) -> None:
        """Call `beat` from now on."""
        self._slots[beat.slot][beat] = None

    def remove(self, beat: Beat) -> None:
        """Call it no more; no error when it is not there."""
        self._slots[beat.slot].pop(beat, None)

    def due(self, now: float) -> list[Beat]:
        """Whose turn came by `now` since the last question; each one once, however long ago that was."""
        # A nanosecond forgives what floating point loses.
        tick = int((now + 1e-9) // _SLOT_S)
        first = max(self._done, tick - _SLOTS) + 1
        self._done = tick
        return [beat for turn in range(first, tick + 1) for beat in self._slots[turn % _SLOTS]]

    @property
    def next_at(self) -> float | None:
        """When the next turn of anybody comes; None when nobody is there."""
        turns = range(self._done + 1, self._done + 1 + _SLOTS)
        return next((turn * _SLOT_S for turn in turns if self._slots[turn % _SLOTS]), None)


class Clockwork:
    """Turns the wheel of one event loop; rests while nobody is on it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds and never runs back."""
        self._clock = clock
        self._wheel = Wheel(clock())
        self._timer: asyncio.TimerHandle | None = None

    def start(self, call: Callable[[], None]) -> Beat:
        """Call `call` every 20 ms, for the first time within 2 ms."""
        now = self._clock()
        beat = Beat(Wheel.slot_after(now), call)
        if self._wheel.next_at is None:
            # The time without anybody is nobody's stall.
            self._wheel = Wheel(now)
        self._wheel.add(beat)
        self._wind()
        return beat

    def stop(self, beat: Beat) -> None:
        """Call it no more. No error when it was stopped."""
        self._wheel.remove(beat)
        beat.failed.cancel()
        self._wind()

    def _wind(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = self._wheel.next_at
        if at is not None:
            wait_s = math.ceil((at - self._clock()) / _TIMER_S) * _TIMER_S
            self._timer = asyncio.get_running_loop().call_later(max(0.0, wait_s), self._turn)

    def _turn(self) -> None:
        self._timer = None
        for beat in self._wheel.due(self._clock()):
            if beat.failed.done():
                continue
            try:
                beat.call()
            except Exception as error:  # noqa: BLE001 - whoever waits for `failed` gets it
                self._wheel.remove(beat)
                beat.failed.set_exception(error)
        self._wind()


_clockworks: WeakKeyDictionary[asyncio.AbstractEventLoop, Clockwork] = WeakKeyDictionary()


def clockwork() -> Clockwork:
    """The one of the running event loop."""
    return _clockworks.setdefault(asyncio.get_running_loop(), Clockwork())
