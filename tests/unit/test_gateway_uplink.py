"""The caller's frames: joined, numbered, published, kept, held back and sent again."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest
import pytest_asyncio

from services.gateway.recent import Frame, Recent
from services.gateway.uplink import Uplink
from shared.channel import CallChannel
from shared.memory_bus import MemoryBus
from shared.messages import AudioIn, SpeechFinal, SpeechStarted
from shared.messages.audio import unpack_in

FRAME = 160


class Caller:
    """Speaks in frames of 20 ms, on a line whose timeline began at 1000 s."""

    def __init__(self, bus: MemoryBus) -> None:
        self.bus = bus
        self.frames = 0
        self.late: list[tuple[float, Callable[[], None]]] = []
        self.channel = CallChannel(bus, "c1", "gateway", 3)
        self.uplink = Uplink(self.channel, lambda: True, self.now, self.later)
        self.stt = CallChannel(bus, "c1", "stt", 1)

    def now(self) -> float:
        return 1000.0 + self.frames * 0.02

    def later(self, delay_s: float, call: Callable[[int], None], seq: int) -> None:
        self.late.append((delay_s, partial(call, seq)))

    async def speak(self, frames: int) -> None:
        for _ in range(frames):
            timestamp_ms = self.frames * 20
            self.frames += 1
            self.uplink.carry(timestamp_ms, bytes([self.frames % 256]) * FRAME)
        await self.bus.settle()

    async def wait(self) -> None:
        """The next frame does not come in time."""
        for _, call in self.late:
            call()
        await self.bus.settle()

    def published(self) -> list[AudioIn]:
        return [unpack_in(body) for subject, body in self.bus.published if subject == "call.c1.audio.in"]

    def sent(self) -> list[tuple[int, ...]]:
        """The carrier's frames in each message that was published, in order; the other fields are checked."""
        told: dict[int, AudioIn] = {}
        messages = []
        for message in self.published():
            assert message.epoch == 3
            assert told.setdefault(message.seq, message) == message, "a number stands for the same audio for ever"
            first = message.timestamp_ms // 20
            frames = tuple(range(first, first + len(message.payload) // FRAME))
            assert message.payload == b"".join(bytes([(frame + 1) % 256]) * FRAME for frame in frames)
            messages.append(frames)
        assert sorted(told) == [*range(len(told))], "a number that is missing is a message that was lost"
        return messages

    def heard(self) -> list[int]:
        """The carrier's frames in the order in which they were published."""
        return [frame for message in self.sent() for frame in message]


@pytest_asyncio.fixture
async def caller() -> Caller:
    made = Caller(MemoryBus())
    await made.uplink.open()
    return made


def test_the_ring_drops_the_oldest() -> None:
    recent = Recent(longest_ms=100)
    for seq in range(8):
        recent.keep(Frame(seq, 20 * seq, b"\x01" * FRAME))
    assert [recent.first_from(seq) for seq in (0, 4, 7, 8)] == [
        *(Frame(seq, 20 * seq, b"\x01" * FRAME) for seq in (3, 4, 7)),
        None,
    ]
    assert recent.first_after(119) == 5
    assert recent.first_after(160) is None
    recent.drop_before(120)
    assert recent.first_from(0) == Frame(6, 120, b"\x01" * FRAME)
    recent.keep(Frame(8, 160, b"\x01" * FRAME * 3))
    assert recent.first_from(0) == Frame(6, 120, b"\x01" * FRAME)
    recent.keep(Frame(9, 220, b"\x01" * FRAME * 2))
    assert recent.first_from(0) == Frame(8, 160, b"\x01" * FRAME * 3)


def test_the_ring_is_bounded_however_short_its_frames_are() -> None:
    recent = Recent(longest_ms=100)
    for seq in range(99):
        recent.keep(Frame(seq, seq, b"\x01"))
    assert recent.first_from(0) == Frame(94, 94, b"\x01")


async def test_two_frames_make_a_message(caller: Caller) -> None:
    await caller.speak(1)
    assert caller.sent() == []
    await caller.speak(4)
    assert caller.sent() == [(0, 1), (2, 3)]


async def test_a_frame_that_is_as_long_as_two_is_sent_at_once(caller: Caller) -> None:
    caller.uplink.carry(0, bytes([1]) * FRAME + bytes([2]) * FRAME)
    await caller.bus.settle()
    assert caller.sent() == [(0, 1)]


async def test_a_frame_that_is_alone_for_long_is_sent(caller: Caller) -> None:
    await caller.speak(1)
    assert [delay_s for delay_s, _ in caller.late] == [0.03]
    await caller.wait()
    await caller.speak(2)
    assert caller.sent() == [(0,), (1, 2)]
    await caller.speak(1)
    # The moments of frames that were sent in time have come too: they concern nobody.
    late, caller.late = caller.late[:-1], []
    for _, call in late:
        call()
    await caller.speak(1)
    assert caller.sent() == [(0,), (1, 2), (3, 4)]


async def test_frames_with_a_gap_between_them_are_not_joined(caller: Caller) -> None:
    await caller.speak(1)
    caller.frames += 1
    await caller.speak(3)
    assert caller.sent() == [(0,), (2, 3)]


async def test_a_key_does_not_wait_for_the_frame_before_it(caller: Caller) -> None:
    await caller.speak(3)
    await caller.uplink.press("1")
    await caller.bus.settle()
    assert caller.sent() == [(0, 1), (2,)]


async def test_the_end_of_the_line_does_not_wait_either(caller: Caller) -> None:
    await caller.speak(3)
    await caller.uplink.close()
    assert caller.sent() == [(0, 1), (2,)]
    await caller.speak(2)
    assert caller.sent() == [(0, 1), (2,)]


async def test_a_frame_without_audio_is_nothing(caller: Caller) -> None:
    caller.uplink.carry(0, b"")
    await caller.wait()
    assert caller.published() == []


async def test_a_line_whose_audio_cannot_be_sent_tells_so(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[Exception] = []
    caller.channel.on_failure = failed.append

    async def refuse(subject: str, payload: bytes) -> None:
        raise ValueError(subject)

    monkeypatch.setattr(caller.bus, "publish_audio", refuse)
    await caller.speak(2)
    assert [str(error) for error in failed] == ["call.c1.audio.in"]
    # Nobody waits for what will never be sent.
    await caller.uplink.replay(since=1000.0)
    await caller.uplink.close()


async def test_what_is_held_is_sent_again_in_order_with_what_comes_meanwhile(caller: Caller) -> None:
    await caller.speak(100)
    caller.uplink.hold()
    await caller.speak(60)
    assert caller.heard() == [*range(100)]
    replaying = asyncio.create_task(caller.uplink.replay(since=1002.0))
    await asyncio.sleep(0)
    await caller.speak(30)
    await replaying
    await caller.speak(6)
    # One second before the worker was lost, at 1000 ms, and each frame once.
    assert caller.heard()[100:] == [*range(50, 196)]


async def test_what_is_held_waits_in_longer_messages(caller: Caller) -> None:
    await caller.speak(3)
    caller.uplink.hold()
    await caller.speak(4)
    await caller.wait()
    await caller.speak(18)
    await caller.uplink.go_on()
    assert caller.sent() == [(0, 1), tuple(range(2, 12)), tuple(range(12, 22)), (22, 23, 24)]


async def test_a_worker_that_takes_over_hears_the_open_utterance_from_its_beginning(caller: Caller) -> None:
    await caller.speak(300)
    await caller.stt.send(SpeechStarted(utterance=1, t_ms=2300, line=3))
    await caller.bus.settle()
    assert caller.uplink.speaking
    caller.uplink.hold()
    await caller.uplink.replay(since=1006.0)
    assert caller.heard()[300:] == [*range(100, 300)]


async def test_a_worker_that_takes_over_does_not_hear_what_was_told_for_good(caller: Caller) -> None:
    await caller.speak(300)
    await caller.stt.send(SpeechStarted(utterance=1, t_ms=2000, line=3))
    await caller.bus.settle()
    await caller.stt.send(SpeechFinal(utterance=1, text="One.", complete=True, until_ms=5800, line=3))
    await caller.bus.settle()
    assert not caller.uplink.speaking
    caller.uplink.hold()
    await caller.uplink.replay(since=1006.0)
    assert caller.heard()[300:] == [*range(290, 300)]


async def test_words_on_an_older_line_say_nothing_of_this_one(caller: Caller) -> None:
    await caller.stt.send(SpeechStarted(utterance=1, t_ms=2000, line=2))
    await caller.bus.settle()
    assert not caller.uplink.speaking


async def test_when_nobody_takes_over_only_what_was_held_is_sent(caller: Caller) -> None:
    await caller.speak(100)
    caller.uplink.hold()
    await caller.speak(10)
    await caller.uplink.go_on()
    await caller.speak(2)
    assert caller.heard() == [*range(112)]


async def test_what_was_not_held_is_sent_once(caller: Caller) -> None:
    await caller.speak(3)
    await caller.uplink.go_on()
    await caller.speak(1)
    await caller.uplink.replay(since=999.0)
    assert caller.sent() == [(0, 1), (2,), (0, 1), (2,), (3,)]


async def test_what_goes_on_to_be_sent_is_sent_although_nobody_waits_for_it(caller: Caller) -> None:
    caller.uplink.hold()
    await caller.speak(1200)
    waiting = asyncio.create_task(caller.uplink.go_on())
    await asyncio.sleep(0)
    waiting.cancel()
    await caller.speak(2)
    await caller.uplink.close()
    assert caller.heard() == [*range(1202)]


async def test_what_was_told_for_good_while_it_was_held_is_not_waited_for(caller: Caller) -> None:
    caller.uplink.hold()
    await caller.speak(20)
    await caller.uplink.press("1")
    await caller.stt.send(SpeechFinal(utterance=1, text="One.", complete=True, until_ms=400, line=3))
    await caller.bus.settle()
    await caller.uplink.go_on()
    await caller.speak(4)
    assert [(message.seq, message.timestamp_ms) for message in caller.published()] == [(2, 400), (3, 440)]


async def test_the_caller_may_have_said_nothing_yet(caller: Caller) -> None:
    caller.uplink.hold()
    await caller.uplink.replay(since=999.0)
    await caller.speak(2)
    assert caller.heard() == [0, 1]


async def test_the_earliest_frame_tells_when_the_timeline_began(caller: Caller) -> None:
    caller.frames = 10
    caller.uplink.carry(0, b"\x01" * FRAME)
    assert caller.uplink.opened_at == pytest.approx(1000.18)
    caller.uplink.carry(60, b"\x01" * FRAME)
    assert caller.uplink.opened_at == pytest.approx(1000.12)
    caller.frames = 50
    caller.uplink.carry(80, b"\x01" * FRAME)
    assert caller.uplink.opened_at == pytest.approx(1000.12)


async def test_keys_of_a_later_line_have_higher_numbers(caller: Caller) -> None:
    await caller.uplink.press("1")
    later = Uplink(CallChannel(caller.bus, "c1", "gateway", 4), lambda: True)
    await later.press("2")
    numbers = [body for subject, body in caller.bus.published if subject == "call.c1.digit"]
    assert [b'"number":200001' in numbers[0], b'"number":300001' in numbers[1]] == [True, True]
