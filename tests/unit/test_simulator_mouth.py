"""The caller's frames: an absolute clock, and speech cut into it."""

import asyncio

import pytest

from shared.audio import FRAME_BYTES, SILENCE
from simulator.mouth import FrameClock, Mouth, Spoken
from simulator.wire import SILENT_FRAME

LOUD = b"\x10"


def test_a_frame_is_due_every_20_ms() -> None:
    clock = FrameClock(100.0)
    assert [clock.due(100.0 + at / 1000) for at in (0, 1, 19, 20, 39, 41, 60)] == [1, 0, 0, 1, 0, 1, 1]
    assert clock.next_at == pytest.approx(100.08)


def test_a_late_loop_catches_up_and_never_drifts() -> None:
    clock = FrameClock(100.0)
    late = [clock.due(at) for at in (100.0, 100.5, 100.5001, 101.0, 160.0)]
    assert late == [1, 25, 0, 25, 2950]
    assert clock.next_at == pytest.approx(160.02)


def test_no_frame_is_lost_to_floating_point() -> None:
    clock = FrameClock(12345.678)
    for _ in range(180_000):
        assert clock.due(clock.next_at) == 1


def test_a_clock_that_has_not_begun_sends_nothing() -> None:
    clock = FrameClock(100.0)
    assert clock.due(99.9) == 0
    assert clock.due(100.0) == 1


async def test_speech_ends_with_the_frame_that_holds_its_last_sound() -> None:
    mouth, done = Mouth(), asyncio.get_running_loop().create_future()
    mouth.say(LOUD * (FRAME_BYTES + 1) + SILENCE * 2 * FRAME_BYTES, done)
    frames = []
    for at in range(4):
        frames.append(mouth.next_frame())
        mouth.left(float(at))
    assert frames[0] == LOUD * FRAME_BYTES
    assert frames[1] == LOUD + SILENCE * (FRAME_BYTES - 1)
    assert all(len(frame) == FRAME_BYTES for frame in frames)
    assert await done == Spoken(began=0.0, ended=1.0, times=(0.0, 1.0))


async def test_sentences_follow_each_other_and_then_there_is_silence() -> None:
    mouth, loop = Mouth(), asyncio.get_running_loop()
    first, second = loop.create_future(), loop.create_future()
    mouth.say(LOUD * FRAME_BYTES, first)
    mouth.say(LOUD * 10, second)
    heard = []
    for at in range(3):
        heard.append(mouth.next_frame())
        mouth.left(float(at))
    assert heard == [LOUD * FRAME_BYTES, LOUD * 10 + SILENCE * (FRAME_BYTES - 10), SILENT_FRAME]
    assert (await first, await second) == (Spoken(0.0, 0.0, (0.0,)), Spoken(1.0, 1.0, (1.0,)))


@pytest.mark.parametrize("frames_left", [0, 1])
async def test_whoever_waits_is_told_when_nothing_more_can_be_said(frames_left: int) -> None:
    mouth, loop = Mouth(), asyncio.get_running_loop()
    said: list[asyncio.Future[Spoken]] = [loop.create_future(), loop.create_future()]
    for done in said:
        mouth.say(LOUD, done)
    for _ in range(frames_left):
        mouth.next_frame()
    mouth.abandon(RuntimeError("the call ended"))
    for done in said:
        with pytest.raises(RuntimeError, match="the call ended"):
            await done
    assert mouth.next_frame() == SILENT_FRAME


@pytest.mark.parametrize(
    ("ms", "at"), [(0, 10.2), (1, 10.2), (20, 10.2), (21, 10.3), (40, 10.3), (60, 10.4), (61, 10.4), (5000, 10.4)]
)
async def test_the_time_by_which_so_much_of_the_voice_had_left(ms: int, at: float) -> None:
    mouth, done = Mouth(), asyncio.get_running_loop().create_future()
    mouth.say(SILENCE * 2 * FRAME_BYTES + LOUD * 3 * FRAME_BYTES + SILENCE * FRAME_BYTES, done)
    for frame in range(6):
        mouth.next_frame()
        mouth.left(10.0 + frame / 10)
    assert (await done).voice_at(ms) == pytest.approx(at)


async def test_silence_has_no_voice_and_ends_with_its_last_frame() -> None:
    mouth, done = Mouth(), asyncio.get_running_loop().create_future()
    mouth.say(SILENCE * 2 * FRAME_BYTES, done)
    for frame in range(2):
        mouth.next_frame()
        mouth.left(float(frame))
    assert await done == Spoken(0.0, 1.0)
    assert (await done).voice_at(20) == 1.0


async def test_a_caller_who_stops_in_mid_sentence_has_said_what_left() -> None:
    mouth, loop = Mouth(), asyncio.get_running_loop()
    cut, unsaid = loop.create_future(), loop.create_future()
    mouth.say(LOUD * 2 * FRAME_BYTES + SILENCE * 2 * FRAME_BYTES + LOUD * FRAME_BYTES, cut)
    mouth.say(LOUD * FRAME_BYTES, unsaid)
    for frame in range(3):
        mouth.next_frame()
        mouth.left(float(frame))
    mouth.hush(7.5)
    assert await cut == Spoken(0.0, 1.0, (0.0, 1.0))
    assert await unsaid == Spoken(7.5, 7.5)
    assert mouth.next_frame() == SILENT_FRAME


async def test_a_frame_on_its_way_is_still_said_when_the_caller_stops() -> None:
    mouth, loop = Mouth(), asyncio.get_running_loop()
    cut, after = loop.create_future(), loop.create_future()
    mouth.say(LOUD * 9 * FRAME_BYTES, cut)
    assert mouth.next_frame() == LOUD * FRAME_BYTES
    mouth.hush(0.5)
    mouth.say(LOUD, after)
    assert not cut.done()
    mouth.left(1.0)
    assert await cut == Spoken(1.0, 1.0, (1.0,))
    mouth.next_frame()
    mouth.left(2.0)
    assert await after == Spoken(2.0, 2.0, (2.0,))


async def test_what_is_said_while_a_silent_frame_is_on_its_way_begins_with_the_next() -> None:
    mouth, done = Mouth(), asyncio.get_running_loop().create_future()
    assert mouth.next_frame() == SILENT_FRAME
    mouth.say(LOUD * FRAME_BYTES, done)
    mouth.left(1.0)
    assert mouth.next_frame() == LOUD * FRAME_BYTES
    mouth.left(2.0)
    assert await done == Spoken(2.0, 2.0, (2.0,))


async def test_whoever_gave_up_waiting_is_not_told() -> None:
    mouth, done = Mouth(), asyncio.get_running_loop().create_future()
    mouth.say(LOUD * FRAME_BYTES, done)
    done.cancel()
    mouth.next_frame()
    mouth.left(1.0)
    assert mouth.next_frame() == SILENT_FRAME


async def test_empty_speech_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to say"):
        Mouth().say(b"", asyncio.get_running_loop().create_future())
