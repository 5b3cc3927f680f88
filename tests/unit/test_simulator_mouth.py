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
    assert await done == Spoken(began=0.0, ended=1.0)


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
    assert (await first, await second) == (Spoken(0.0, 0.0), Spoken(1.0, 1.0))


async def test_whoever_waits_is_told_when_nothing_more_can_be_said() -> None:
    mouth, done = Mouth(), asyncio.get_running_loop().create_future()
    mouth.say(LOUD, done)
    mouth.abandon(RuntimeError("the call ended"))
    with pytest.raises(RuntimeError, match="the call ended"):
        await done
    assert mouth.next_frame() == SILENT_FRAME


async def test_empty_speech_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to say"):
        Mouth().say(b"", asyncio.get_running_loop().create_future())
