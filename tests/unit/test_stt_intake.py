"""The bounded way to the provider."""

import asyncio

from services.stt.intake import DROPPED, Intake, Mark
from shared.messages import AudioIn

BEGIN, FINISH = Mark("begin", 1), Mark("finish", 1)


def frame(seq: int) -> AudioIn:
    return AudioIn(1, seq, 20 * seq, bytes(160))


async def taken(intake: Intake, count: int) -> list[int | Mark]:
    items = [await intake.get() for _ in range(count)]
    return [item.seq if isinstance(item, AudioIn) else item for item in items]


async def test_frames_and_marks_keep_their_order() -> None:
    intake = Intake()
    for item in (frame(0), BEGIN, frame(1), FINISH, frame(2)):
        intake.put(item)
    assert await taken(intake, 5) == [0, BEGIN, 1, FINISH, 2]


async def test_the_oldest_frame_is_dropped_and_counted_and_no_mark_is() -> None:
    intake = Intake(longest_ms=60)
    before = DROPPED._value.get()
    for item in (BEGIN, frame(0), frame(1), FINISH, frame(2), frame(3), frame(4)):
        intake.put(item)
    assert await taken(intake, 5) == [BEGIN, FINISH, 2, 3, 4]
    assert DROPPED._value.get() - before == 2


async def test_three_seconds_of_audio_wait_at_most() -> None:
    intake = Intake()
    for seq in range(1000):
        intake.put(frame(seq))
    assert await taken(intake, 150) == list(range(850, 1000))


async def test_a_reader_waits_for_the_next_item() -> None:
    intake = Intake()
    reading = asyncio.create_task(taken(intake, 1))
    await asyncio.sleep(0)
    assert not reading.done()
    intake.put(frame(7))
    assert await reading == [7]
