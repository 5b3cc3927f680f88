"""How many calls one caller, and one source, may place within a minute."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable

from shared.settings import Settings

_WINDOW_S = 60.0
_KEYS = 10_000
"""Callers or sources remembered; the one that was silent for the longest is forgotten first."""
_KEY_LENGTH = 64
_WITHHELD = {"", "anonymous", "restricted", "+266696687", "+7378742833", "+2562533", "+8656696", "+86282452253"}
"""What Twilio gives for callers who hide their number: they are many, and not to be counted as one."""


class Limit:
    """At most so many events of one key in any minute."""

    # The memory storages of the library `limits` look through all keys, on threads, after each event.

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`per_minute` 0: any number."""
        self._per_minute = per_minute
        self._clock = clock
        self._events: OrderedDict[str, deque[float]] = OrderedDict()

    def take(self, key: str) -> bool:
        """Count an event of `key`; False, and nothing is counted, when there were too many."""
        if not self._per_minute:
            return True
        now = self._clock()
        events = self._events.setdefault(key[:_KEY_LENGTH], deque(maxlen=self._per_minute))
        self._events.move_to_end(key[:_KEY_LENGTH])
        if len(self._events) > _KEYS:
            self._events.popitem(last=False)
        if len(events) == self._per_minute and now - events[0] < _WINDOW_S:
            return False
        events.append(now)
        return True


class CallLimits:
    """The limits of new calls at one gateway."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """From CALLS_PER_MINUTE_CALLER and CALLS_PER_MINUTE_SOURCE."""
        self._callers = Limit(settings.calls_per_minute_caller, clock)
        self._sources = Limit(settings.calls_per_minute_source, clock)

    def source(self, address: str) -> bool:
        """A peer places a call, or sends a webhook that is not Twilio's; False when it did so too often."""
        return self._sources.take(address)

    def caller(self, number: str) -> bool:
        """A caller places a call; False when they did so too often."""
        return number.strip().lower() in _WITHHELD or self._callers.take(number)
