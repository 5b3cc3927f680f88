"""The wheel that calls all phones of an event loop every 20 ms."""

import asyncio

import numpy as np
import pytest

from simulator.clockwork import Beat, Clockwork, Wheel, clockwork


def nothing() -> None:
    return


def beat_at(now: float) -> Beat:
    return Beat(Wheel.slot_after(now), nothing)


async def test_a_phone_is_called_every_20_ms_from_the_first_slot_after_it_began() -> None:
    wheel, beat = Wheel(100.0), beat_at(100.0031)
    wheel.add(beat)
    called = [at for at in range(61) if wheel.due(100.0 + at / 1000 + 1e-6)]
    assert called == [4, 24, 44]
    assert wheel.next_at == pytest.approx(100.064)


async def test_phones_that_began_at_different_times_are_called_at_different_times() -> None:
    wheel, first, second = Wheel(0.0), beat_at(0.001), beat_at(0.011)
    wheel.add(first)
    wheel.add(second)
    assert wheel.next_at == pytest.approx(0.002)
    assert wheel.due(0.0021) == [first]
    assert wheel.next_at == pytest.approx(0.012)
    assert wheel.due(0.0121) == [second]
    assert wheel.due(0.0125) == []
    assert wheel.due(0.0335) == [first, second]


async def test_after_a_stall_each_phone_is_called_once_and_keeps_its_place() -> None:
    wheel, beats = Wheel(0.0), [beat_at(at / 1000) for at in range(1, 20, 2)]
    for beat in beats:
        wheel.add(beat)
    due = wheel.due(7.0005)
    assert len(due) == len(beats) and set(due) == set(beats)
    assert wheel.due(7.0007) == []
    assert wheel.due(7.0021) == [beats[0]]


async def test_a_turn_has_come_when_it_is_said_to_come() -> None:
    wheel, beat = Wheel(12345.6783), beat_at(12345.6783)
    wheel.add(beat)
    for _ in range(1000):
        at = wheel.next_at
        assert at is not None
        assert wheel.due(at) == [beat]


async def test_a_clock_that_stands_still_calls_nobody_twice() -> None:
    wheel, beat = Wheel(0.0), beat_at(0.001)
    wheel.add(beat)
    assert wheel.due(0.0021) == [beat]
    assert wheel.due(0.0021) == []


async def test_whoever_left_is_not_called_and_an_empty_wheel_rests() -> None:
    wheel, beat = Wheel(0.0), beat_at(0.001)
    assert wheel.next_at is None
    wheel.add(beat)
    wheel.remove(beat)
    wheel.remove(beat)
    assert wheel.next_at is None
    assert wheel.due(1.0) == []


@pytest.mark.parametrize("seed", range(5))
async def test_however_late_the_wheel_is_turned_nobody_is_called_early_or_left_out(seed: int) -> None:
    random, now = np.random.default_rng(seed), 12345.67833
    wheel, beats = Wheel(now), [beat_at(start) for start in now + random.uniform(0, 0.02, 30)]
    for beat in beats:
        wheel.add(beat)
    for _ in range(500):
        before, now = now, now + float(random.choice([0.0001, 0.001, 0.002, 0.007, 0.019, 0.1]))
        turns = {tick % 10 for tick in range(int(before / 0.002) + 1, int(now / 0.002) + 1)}
        due = wheel.due(now)
        assert len(due) == len(set(due))
        assert set(due) == {beat for beat in beats if beat.slot in turns}
        assert wheel.next_at is not None and now < wheel.next_at <= now + 0.02


async def test_a_running_clockwork_calls_until_it_is_stopped() -> None:
    works, calls, enough = Clockwork(), [0], asyncio.Event()

    def call() -> None:
        calls[0] += 1
        if calls[0] == 3:
            enough.set()
            works.stop(beat)

    beat = works.start(call)
    async with asyncio.timeout(5):
        await enough.wait()
    # Stopped in its own call, and once more.
    works.stop(beat)
    assert beat.failed.cancelled()
    assert works._timer is None
    again = asyncio.Event()
    second = works.start(again.set)
    async with asyncio.timeout(5):
        await again.wait()
    works.stop(second)
    assert calls == [3]


async def test_one_that_fails_is_told_and_called_no_more_and_the_others_go_on() -> None:
    clock = [0.001]
    works, calls, later = Clockwork(lambda: clock[0]), [0], asyncio.Event()

    def fail() -> None:
        calls[0] += 1
        raise ValueError("broken")

    failing, other = works.start(fail), works.start(later.set)
    clock[0] = 0.0025
    async with asyncio.timeout(5):
        with pytest.raises(ValueError, match="broken"):
            await failing.failed
        await later.wait()
        later.clear()
        clock[0] = 0.0225
        await later.wait()
    assert calls == [1]
    works.stop(other)
    assert works._timer is None


async def test_one_stopped_by_the_call_before_it_is_not_called() -> None:
    clock, called, done = [0.001], [], asyncio.Event()
    works = Clockwork(lambda: clock[0])

    def first() -> None:
        works.stop(other)
        done.set()

    stopping, other = works.start(first), works.start(lambda: called.append("other"))
    clock[0] = 0.0025
    async with asyncio.timeout(5):
        await done.wait()
    works.stop(stopping)
    assert called == []


async def test_an_event_loop_has_one_clockwork() -> None:
    assert clockwork() is clockwork()
