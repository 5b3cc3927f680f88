"""Where fed audio lies on the caller's timeline, and when it came."""

import pytest

from services.stt.arrivals import Arrivals
from services.stt.timeline import Timeline


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_fed_audio_is_placed_on_the_callers_timeline() -> None:
    timeline = Timeline()
    for at in (60_000, 60_020, 60_100, 60_120):
        timeline.feed(at, 20)
    assert [timeline.locate(fed) for fed in (0, 39, 40, 70)] == [60_000, 60_039, 60_100, 60_130]


def test_jitter_of_the_timestamps_is_no_gap() -> None:
    timeline = Timeline()
    for at in (0, 23, 38, 60):
        timeline.feed(at, 20)
    assert timeline.locate(70) == 70


def test_what_was_kept_came_in_its_own_time() -> None:
    clock = Clock(1060.0)
    arrivals = Arrivals(clock, opened_at=1000.0)
    for end_ms in range(50_020, 60_020, 20):
        arrivals.add(end_ms)
        assert arrivals.catching_up or end_ms >= 59_900
    assert not arrivals.catching_up
    assert arrivals.before(59_000) == pytest.approx(1059.0, abs=0.001)
    assert arrivals.before(51_000) == pytest.approx(1051.0, abs=0.03)
    # What is late from now on has come late.
    clock.now = 1065.0
    arrivals.add(60_020)
    assert arrivals.before(60_020) == 1065.0


def test_a_line_that_has_become_slower_is_not_taken_for_a_burst() -> None:
    clock = Clock(0.0)
    arrivals = Arrivals(clock, opened_at=1000.0)
    for end_ms in range(20, 2020, 20):
        clock.now = 1000.3 + end_ms / 1000
        arrivals.add(end_ms)
    assert not arrivals.catching_up
    assert arrivals.before(2000) == pytest.approx(1002.3)


@pytest.mark.parametrize("frame_ms", [40, 200])
def test_the_pace_is_that_of_the_audio_whatever_the_length_of_a_frame(frame_ms: int) -> None:
    clock = Clock(1060.0)
    burst, slow = Arrivals(clock, opened_at=1000.0), Arrivals(clock, opened_at=1000.0)
    for end_ms in range(50_000 + frame_ms, 59_600 + frame_ms, frame_ms):
        burst.add(end_ms)
        assert burst.catching_up
    for end_ms in range(frame_ms, 2000, frame_ms):
        clock.now = 1000.3 + end_ms / 1000
        slow.add(end_ms)
    assert not slow.catching_up


def test_what_a_long_frame_held_back_came_before_it() -> None:
    arrivals = Arrivals(Clock(1000.0))
    arrivals.add(40)
    assert [arrivals.before(t_ms) for t_ms in (0, 10, 20, 40)] == [999.98, 999.99, 1000.0, 1000.0]


def test_no_frame_came_later_than_now() -> None:
    arrivals = Arrivals(Clock(1000.0), opened_at=1000.0)
    arrivals.add(5000)
    assert arrivals.before(5000) == 1000.0


def test_another_line_begins_now() -> None:
    arrivals = Arrivals(Clock(1060.0), opened_at=1000.0)
    arrivals.add(50_000)
    arrivals.clear()
    arrivals.add(20)
    assert arrivals.before(20) == 1060.0


def test_the_arrival_of_what_is_older_than_the_known_frames_is_reckoned() -> None:
    clock = Clock(1000.0)
    arrivals = Arrivals(clock)
    for end_ms in range(20, 10_020, 20):
        clock.now = 1000 + end_ms / 1000
        arrivals.add(end_ms)
    assert arrivals.before(9_990) == pytest.approx(1010.0)
    assert arrivals.before(1_000) == pytest.approx(1001.0, abs=0.02)
    assert arrivals.before(11_000) == pytest.approx(1010.0)
