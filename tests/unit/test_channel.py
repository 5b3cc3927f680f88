"""One call's channel: typed, stamped, filtered by epoch."""

import asyncio
import json

import pytest

from shared.channel import CallChannel
from shared.ids import InvalidId
from shared.memory_bus import MemoryBus
from shared.messages import (
    AudioIn,
    AudioOut,
    BadFrame,
    LeaseChanged,
    Message,
    Playback,
    ReplyText,
    SpeechFinal,
    SpeechStarted,
    SpeechStopped,
    UsageCounted,
    Word,
)
from shared.messages.audio import pack, unpack_in, unpack_out


class Inbox:
    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, message: Message) -> None:
        self.messages.append(message)


async def test_a_message_is_stamped_and_readable() -> None:
    bus = MemoryBus()
    await CallChannel(bus, "c1", "stt", 3, clock=lambda: 12.5).send(SpeechStarted(utterance=1, t_ms=40, began_at=12.0))
    [(subject, body)] = bus.published
    assert subject == "call.c1.speech.started"
    assert json.loads(body) == {
        "call_id": "c1",
        "stage": "stt",
        "epoch": 3,
        "at": 12.5,
        "utterance": 1,
        "t_ms": 40,
        "began_at": 12.0,
        "line": 0,
    }


SENT: list[Message] = [
    SpeechFinal(utterance=1, text="Grüße 😀", complete=True, words=(Word(text="Grüße", start_ms=0, end_ms=9),)),
    Playback(generation=1, state="playing", heard_ms=5, heard='"Hi"\n', audible_at=1e22),
    UsageCounted(provider="p", model="m", amounts={"tokens": 1}),
]


@pytest.mark.parametrize("message", SENT, ids=lambda message: message.suffix)
async def test_a_message_travels_as_pydantic_writes_it(message: Message) -> None:
    bus, before = MemoryBus(), message.model_copy()
    await CallChannel(bus, "c1", "stt", 3, clock=lambda: 12.5).send(message)
    stamp = {"call_id": "c1", "stage": "stt", "epoch": 3, "at": 12.5}
    assert bus.published[0][1] == message.model_copy(update=stamp).model_dump_json().encode()
    assert message == before


async def test_messages_of_one_family_arrive_in_order() -> None:
    bus, inbox = MemoryBus(), Inbox()
    await CallChannel(bus, "c1", "llm", 1).on(inbox, SpeechStarted, SpeechFinal)
    stt = CallChannel(bus, "c1", "stt", 1)
    await stt.send(SpeechStarted(utterance=1, t_ms=0))
    await stt.send(SpeechStopped(utterance=1, t_ms=9, ended_at=1))
    await stt.send(SpeechFinal(utterance=1, text="hello", complete=True))
    await CallChannel(bus, "c2", "stt", 1).send(SpeechStarted(utterance=1, t_ms=0))
    await bus.settle()
    assert [type(message) for message in inbox.messages] == [SpeechStarted, SpeechFinal]


async def test_two_families_need_two_subscriptions() -> None:
    with pytest.raises(ValueError, match="one family"):
        await CallChannel(MemoryBus(), "c1", "llm", 1).on(Inbox(), SpeechStarted, Playback)


async def test_messages_of_an_older_lease_are_dropped() -> None:
    bus, inbox = MemoryBus(), Inbox()
    await CallChannel(bus, "c1", "tts", 1).on(inbox, ReplyText)
    older, newer = CallChannel(bus, "c1", "llm", 1), CallChannel(bus, "c1", "llm", 2)
    for sender, text in ((older, "a"), (newer, "b"), (older, "c"), (newer, "d")):
        await sender.send(ReplyText(generation=1, turn_id=1, sequence=0, text=text))
    await bus.settle()
    assert [message.text for message in inbox.messages if isinstance(message, ReplyText)] == ["a", "b", "d"]


async def test_a_granted_lease_makes_older_senders_stale_at_once() -> None:
    bus, inbox = MemoryBus(), Inbox()
    channel = CallChannel(bus, "c1", "llm", 1)
    await channel.on(inbox, SpeechStarted)
    await channel.on(Inbox(), LeaseChanged)
    granted = LeaseChanged(leased="stt", worker="stt-2", lease_epoch=2, state="granted")
    await CallChannel(bus, "c1", "gateway", 1).send(granted)
    await bus.settle()
    await CallChannel(bus, "c1", "stt", 1).send(SpeechStarted(utterance=1, t_ms=0))
    await bus.settle()
    assert inbox.messages == []


async def test_news_of_a_lease_may_be_overtaken_by_the_audio_of_its_line() -> None:
    bus, inbox = MemoryBus(), Inbox()
    channel, frames = CallChannel(bus, "c1", "stt", 1), list[AudioIn]()
    await channel.on(inbox, LeaseChanged)
    await channel.on_audio_in(frames.append)
    await CallChannel(bus, "c1", "gateway", 1).send_audio_in(0, 0, b"\xff" * 160)
    await bus.settle()
    granted = LeaseChanged(leased="stt", worker="stt-1", lease_epoch=1, state="granted")
    await CallChannel(bus, "c1", "gateway", 0).send(granted)
    await bus.settle()
    assert len(frames) == 1
    assert [message.lease_epoch for message in inbox.messages if isinstance(message, LeaseChanged)] == [1]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"utterance": "many"}', b"\xff"])
async def test_garbage_is_dropped(body: bytes) -> None:
    bus, inbox = MemoryBus(), Inbox()
    await CallChannel(bus, "c1", "llm", 1).on(inbox, SpeechStarted)
    await bus.publish("call.c1.speech.started", body)
    await CallChannel(bus, "c1", "stt", 1).send(SpeechStarted(utterance=2, t_ms=0))
    await bus.settle()
    assert [message.utterance for message in inbox.messages if isinstance(message, SpeechStarted)] == [2]


async def test_audio_frames_travel_as_msgpack() -> None:
    bus, frames, pieces = MemoryBus(), list[AudioIn](), list[AudioOut]()
    channel = CallChannel(bus, "c1", "gateway", 2, clock=lambda: 1.5)
    await channel.on_audio_in(frames.append)
    await channel.on_audio_out("tts", pieces.append)
    await channel.send_audio_in(7, 140, b"\xff" * 160)
    await channel.send_audio_out(3, 200, b"\x01", "Hi. ", last=True, turn_id=7, asked_at=1.25)
    await bus.publish("call.c1.audio.in", b"garbage")
    await bus.settle()
    assert frames == [AudioIn(2, 7, 140, b"\xff" * 160)]
    assert pieces == [AudioOut(2, 3, 7, 200, 1.25, 1.5, b"\x01", "Hi. ", True)]


async def test_pieces_wait_for_a_handler_that_waits_and_so_does_the_end() -> None:
    bus, begun, done, may_go_on = MemoryBus(), list[int](), list[int](), asyncio.Event()
    channel, tts = CallChannel(bus, "c1", "gateway", 1), CallChannel(bus, "c1", "tts", 2)

    async def play(piece: AudioOut) -> None:
        begun.append(piece.offset_ms)
        await may_go_on.wait()
        done.append(piece.offset_ms)

    await channel.on_audio_out_in_turn("tts", play)
    await bus.publish("call.c1.audio.out", b"garbage")
    for offset_ms in (0, 500):
        await tts.send_audio_out(1, offset_ms, b"\x01", "", last=False)
    await bus.settle()
    assert begun == [0]
    channel.supersede("tts", 3)
    closing = asyncio.create_task(channel.close())
    await bus.settle()
    assert not closing.done()
    may_go_on.set()
    await closing
    # The second had arrived, and was of an older lease when its turn came.
    assert (begun, done) == ([0], [0])


@pytest.mark.parametrize("in_turn", [True, False])
async def test_a_handler_of_audio_that_raises_is_told_of_and_called_again(in_turn: bool) -> None:
    bus, failures, pieces = MemoryBus(), list[str](), list[int]()
    channel, tts = CallChannel(bus, "c1", "gateway", 1), CallChannel(bus, "c1", "tts", 1)
    channel.on_failure = lambda error: failures.append(str(error))

    def refuse(piece: AudioOut) -> None:
        pieces.append(piece.offset_ms)
        raise ValueError("no")

    async def refuse_in_turn(piece: AudioOut) -> None:
        refuse(piece)

    if in_turn:
        await channel.on_audio_out_in_turn("tts", refuse_in_turn)
    else:
        await channel.on_audio_out("tts", refuse)
    for offset_ms in (0, 500):
        await tts.send_audio_out(1, offset_ms, b"\x01", "", last=False)
        await bus.settle()
    channel.retire()
    await tts.send_audio_out(1, 1000, b"\x01", "", last=True)
    await bus.settle()
    assert (pieces, failures) == ([0, 500], ["no", "no"])


def test_audio_frames_are_byte_exact() -> None:
    assert pack(AudioIn(1, 2, 40, b"\xff\x7f")) == b"\x94\x01\x02\x28\xc4\x02\xff\x7f"
    assert unpack_in(pack(AudioIn(1, 2, 40, b"x"))) == AudioIn(1, 2, 40, b"x")
    assert unpack_out(pack(AudioOut(1, 2, 3, 4, 5.0, 6.0, b"x", "y", False))) == AudioOut(
        1, 2, 3, 4, 5.0, 6.0, b"x", "y", False
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x01",
        b"\x93\x01\x02\x03",
        b"\x94\x01",
        b"\x94\x01\x02\xa1x\xc4\x01\xff",
        b"\x94\x01\x02\x28\xc4\x00\x01",
    ],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(BadFrame):
        unpack_in(data)


def test_a_bad_call_id_opens_no_channel() -> None:
    with pytest.raises(InvalidId):
        CallChannel(MemoryBus(), "a.>", "stt", 1)


async def test_a_retired_channel_hears_nothing_and_sends_only_what_the_history_keeps() -> None:
    bus, inbox = MemoryBus(), Inbox()
    channel = CallChannel(bus, "c1", "tts", 1)
    await channel.on(inbox, SpeechStarted)
    channel.retire()
    await CallChannel(bus, "c1", "stt", 1).send(SpeechStarted(utterance=1, t_ms=0))
    bus.published.clear()
    await channel.send(ReplyText(generation=1, turn_id=1, sequence=0, text="a"))
    await channel.send_audio_out(1, 0, b"\x01", "a", last=False)
    await channel.send(UsageCounted(provider="p", model="m", amounts={}))
    await bus.settle()
    assert inbox.messages == []
    assert [subject for subject, _ in bus.published] == ["call.c1.event.usage"]


async def test_a_closed_channel_hears_nothing() -> None:
    bus, inbox = MemoryBus(), Inbox()
    channel = CallChannel(bus, "c1", "llm", 1)
    await channel.on(inbox, SpeechStarted)
    await channel.close()
    await CallChannel(bus, "c1", "stt", 1).send(SpeechStarted(utterance=1, t_ms=0))
    await bus.settle()
    assert inbox.messages == []
