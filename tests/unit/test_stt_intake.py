"""The bounded way to the provider."""

import asyncio

import pytest

from services.stt.intake import DROPPED, Intake, Mark
from shared.messages import AudioIn

BEGIN, FINISH = Mark("begin", 1), Mark("finish", 1)


def frame(seq: int) -> AudioIn:
    return AudioIn(1, seq, 20 * seq, bytes(160))


def add(intake: Intake, *items: AudioIn | Mark) -> None:
    for item in items:
        if isinstance(item, AudioIn):
            intake.put(item)
        else:
            intake.mark(item)


async def taken(intake: Intake, count: int) -> list[int | Mark]:
    items = []
    for _ in range(count):
        await intake.filled()
        items.append(intake.take())
    return [item.seq if isinstance(item, AudioIn) else item for item in items]


async def test_frames_and_marks_keep_their_order() -> None:
    intake = Intake()
    add(intake, frame(0), BEGIN, frame(1), FINISH, frame(2))
    assert await taken(intake, 5) == [0, BEGIN, 1, FINISH, 2]


@pytest.mark.parametrize(
    ("at_ms", "order"), [(40, [0, 1, BEGIN, 2, 3]), (41, [0, 1, 2, BEGIN, 3]), (0, [BEGIN, 0, 1, 2, 3])]
)
async def test_a_mark_that_comes_late_is_placed_behind_the_audio_it_was_known_from(
    at_ms: int, order: list[int | Mark]
) -> None:
    intake = Intake()
    add(intake, *map(frame, range(4)))
    intake.mark(BEGIN, at_ms)
    assert await taken(intake, 5) == order


async def test_a_mark_of_a_place_that_was_taken_comes_next_and_overtakes_no_other() -> None:
    intake = Intake()
    add(intake, *map(frame, range(4)))
    assert await taken(intake, 2) == [0, 1]
    intake.mark(BEGIN, 30)
    intake.mark(FINISH, 30)
    assert await taken(intake, 4) == [BEGIN, FINISH, 2, 3]


async def test_a_mark_stays_on_its_own_line() -> None:
    intake = Intake()
    add(intake, frame(100), FINISH, AudioIn(2, 0, 0, bytes(160)), AudioIn(2, 1, 20, bytes(160)))
    intake.mark(BEGIN, 20)
    assert await taken(intake, 5) == [100, FINISH, 0, BEGIN, 1]


async def test_the_oldest_frame_is_dropped_and_counted_and_no_mark_is() -> None:
    intake = Intake(longest_ms=60)
    before = DROPPED._value.get()
    add(intake, BEGIN, frame(0), frame(1), FINISH, frame(2), frame(3), frame(4))
    assert await taken(intake, 5) == [BEGIN, FINISH, 2, 3, 4]
    assert DROPPED._value.get() - before == 2


async def test_what_was_kept_may_wait_until_the_reader_has_caught_up() -> None:
    intake = Intake(longest_ms=60)
    for seq in range(500):
        intake.put(frame(seq), kept=True)
    for seq in range(500, 505):
        intake.put(frame(seq))
    assert await taken(intake, 505) == list(range(505))
    for seq in range(600, 605):
        intake.put(frame(seq))
    assert await taken(intake, 3) == [602, 603, 604]


async def test_half_a_minute_of_what_was_kept_waits_at_most() -> None:
    intake = Intake(longest_ms=60)
    for seq in range(2000):
        intake.put(frame(seq), kept=True)
    assert await taken(intake, 1) == [2000 - 1503]


async def test_three_seconds_of_audio_wait_at_most() -> None:
    intake = Intake()
    for seq in range(1000):
        intake.put(frame(seq))
    assert await taken(intake, 150) == list(range(850, 1000))


async def test_three_seconds_wait_at_most_whatever_the_length_of_a_frame() -> None:
    intake = Intake()
    before = DROPPED._value.get()
    for seq in range(100):
        intake.put(AudioIn(1, seq, 40 * seq, bytes(320)))
    assert await taken(intake, 75) == list(range(25, 100))
    assert DROPPED._value.get() - before == 50


async def test_one_frame_longer_than_all_that_may_wait_is_taken() -> None:
    intake = Intake(longest_ms=60)
    intake.put(AudioIn(1, 0, 0, bytes(1600)))
    intake.put(frame(1))
    assert await taken(intake, 1) == [1]
    intake.put(AudioIn(1, 2, 0, bytes(1600)))
    assert await taken(intake, 1) == [2]


async def test_a_reader_waits_for_the_next_item() -> None:
    intake = Intake()
    reading = asyncio.create_task(taken(intake, 1))
    await asyncio.sleep(0)
    assert not reading.done()
    intake.put(frame(7))
    assert await reading == [7]
