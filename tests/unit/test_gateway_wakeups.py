"""When a gateway rests, so that frames of many callers are done together."""

from collections import deque
from collections.abc import Callable

import pytest

from services.gateway.wakeups import GAP_S, Wakeups


class Loop:
    """An event loop's turns, and time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0
        self.rests: list[float] = []
        self.turns = 0
        self._soon: deque[Callable[[], None]] = deque()
        self.wakeups = Wakeups(self._soon.append, lambda: self.now, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now += seconds

    def run(self) -> None:
        """Until nothing is left to do."""
        self.turns = 0
        while self._soon:
            self._soon.popleft()()
            self.turns += 1


@pytest.fixture
def loop() -> Loop:
    return Loop()


def test_one_caller_never_waits(loop: Loop) -> None:
    for _ in range(10):
        loop.wakeups.arrived()
        loop.run()
        loop.now += 0.020
    assert loop.rests == []


def test_frames_after_the_first_wait_until_the_gap_is_over(loop: Loop) -> None:
    loop.wakeups.arrived()
    loop.run()
    loop.now += 0.001
    loop.wakeups.arrived()
    loop.run()
    assert loop.rests == [pytest.approx(GAP_S - 0.001)]


def test_a_stream_of_frames_wakes_the_loop_once_in_a_gap(loop: Loop) -> None:
    began = loop.now
    for _ in range(101):
        loop.wakeups.arrived()
        loop.run()
    assert loop.now - began == pytest.approx(100 * GAP_S)
    assert max(loop.rests) <= GAP_S * 1.001


def test_what_a_frame_causes_leaves_before_the_rest(loop: Loop) -> None:
    loop.wakeups.arrived()
    loop.run()
    left: list[int] = []
    loop.wakeups.arrived()
    # As the outlet does: a write in the same turn, and what that causes in the next one.
    loop._soon.append(lambda: loop._soon.append(lambda: left.append(len(loop.rests))))
    loop.run()
    assert left == [0]
    assert len(loop.rests) == 1


def test_work_that_took_longer_than_the_gap_is_followed_by_no_rest(loop: Loop) -> None:
    loop.wakeups.arrived()
    loop.run()
    loop.now += 2 * GAP_S
    loop.wakeups.arrived()
    loop.run()
    assert loop.rests == []


def test_frames_of_one_turn_are_one(loop: Loop) -> None:
    for _ in range(50):
        loop.wakeups.arrived()
    loop.run()
    assert loop.turns == 3
