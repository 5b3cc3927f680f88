"""The greeting: spoken once, recorded, and played from then on."""

import asyncio

import msgpack
import pytest

from services.tts import greetings
from services.tts.cutting import Cut
from services.tts.greetings import KEEP_S, STORE, Greetings, encode, key_of
from shared.audio import bytes_of
from shared.bus import Disconnected, ObjectStore
from shared.memory_bus import MemoryBus
from shared.messages import Control, ReplyText, UsageCounted
from tests.fakes import Heard
from tests.unit.test_tts_session import CALL, Booth, end, say

GREETING = "Good day! How can I help?"
PARTS = [("Good ", 200), ("day! ", 150), ("How can I help?", 240)]
RECORDING = (*(Cut(b"\x01" * bytes_of(ms), text) for text, ms in PARTS), Cut(b"", ""))


class Desk:
    """The calls of one worker process, one after the other, and the broker that outlives it."""

    def __init__(self, bus: MemoryBus | None = None) -> None:
        self.bus = bus or MemoryBus()
        self.greetings = Greetings()
        self.booth: Booth | None = None

    async def call(self, greeting: str = GREETING, voice: str = "") -> Booth:
        await self.hang_up()
        self.booth = Booth(greeting, self.greetings, self.bus, voice)
        self.bus.published.clear()
        await self.booth.session.begin(self.booth.voice)
        return self.booth

    async def hang_up(self) -> None:
        if self.booth is not None:
            await self.booth.close()

    async def stored(self) -> ObjectStore:
        return await self.bus.objects(STORE, KEEP_S)


async def rehearse(booth: Booth, text: str = GREETING) -> None:
    """The voice speaks the greeting before anybody asks."""
    await booth.until_told("end", 0, "")
    assert booth.voice.told == [("speak", 0, text), ("end", 0, "")]
    for said, ms in PARTS:
        await booth.deliver(0, ms, said)
    await booth.deliver(0, 0, last=True)


async def idle() -> None:
    """Let everything happen that waits for nothing outside."""
    for _ in range(20):
        await asyncio.sleep(0)


def heard(booth: Booth) -> list[tuple[int, int, str, bool]]:
    return [(piece.generation, piece.offset_ms, piece.text, piece.last) for piece in booth.published]


WHOLE = [(1, 0, "Good ", False), (1, 200, "day! ", False), (1, 350, "How can I help?", False), (1, 590, "", True)]


async def greet(booth: Booth, generation: int = 1) -> None:
    await booth.send(say(generation, GREETING, turn_id=0), end(generation, turn_id=0))
    await idle()


async def test_the_greeting_is_spoken_before_it_is_asked_for_and_sent_when_it_is() -> None:
    booth = await Desk().call()
    await rehearse(booth)
    assert booth.published == []
    booth.now = 1234.5
    await greet(booth)
    assert heard(booth) == WHOLE
    assert {(piece.turn_id, piece.asked_at) for piece in booth.published} == {(0, 1234.5)}
    assert [call[0] for call in booth.voice.told].count("speak") == 1


async def test_a_greeting_asked_for_while_it_is_spoken_goes_on_as_it_comes() -> None:
    booth = await Desk().call()
    await booth.until_told("end", 0, "")
    await booth.deliver(0, 200, "Good ")
    await greet(booth)
    assert heard(booth) == WHOLE[:1]
    for said, ms in PARTS[1:]:
        await booth.deliver(0, ms, said)
    await booth.deliver(0, 0, last=True)
    assert heard(booth) == WHOLE
    assert booth.voice.told == [("speak", 0, GREETING), ("end", 0, "")]


async def test_a_second_call_plays_it_without_asking_the_voice() -> None:
    desk = Desk()
    await rehearse(await desk.call())
    await idle()
    await desk.hang_up()
    for worker in (desk, Desk(desk.bus)):
        booth = await worker.call()
        await idle()
        messages = await Heard.on(desk.bus, CALL)
        await greet(booth)
        assert heard(booth) == WHOLE
        assert [order for order, *_ in booth.voice.told] == ["cancel"]
        await worker.hang_up()
        await desk.bus.settle()
        assert not any(isinstance(message, UsageCounted) for message in messages.messages)


async def test_a_worker_asks_the_broker_once_for_a_greeting() -> None:
    desk = Desk(asking := CountingBus())
    await rehearse(await desk.call())
    await idle()
    for _ in range(3):
        await desk.call()
        await idle()
    assert asking.opened == 2


class CountingBus(MemoryBus):
    """Counts how often its store was opened: once to look, once to keep."""

    opened = 0

    async def objects(self, name: str, ttl_s: float) -> ObjectStore:
        self.opened += 1
        return await super().objects(name, ttl_s)


async def test_another_voice_or_text_is_another_greeting() -> None:
    desk = Desk()
    await rehearse(await desk.call())
    await idle()
    await rehearse(await desk.call(voice="en-gb"))
    booth = await desk.call("Hello!")
    await booth.until_told("speak", 0, "Hello!")


@pytest.mark.parametrize(
    "broken",
    [b"", b"\xc1", b"{}", encode(RECORDING)[:-3], encode(RECORDING[1:]), encode((Cut(b"", GREETING),))],
)
async def test_a_broken_entry_is_replaced(broken: bytes) -> None:
    desk = Desk()
    key = key_of("scripted", Booth(GREETING).call.profile)
    await (await desk.stored()).put(key, broken)
    await rehearse(await desk.call())
    await idle()
    assert await (await desk.stored()).get(key) == encode(RECORDING)


async def test_an_interrupted_greeting_stops_at_once_and_is_spoken_anew_by_the_next_call() -> None:
    desk = Desk()
    booth = await desk.call()
    await booth.until_told("end", 0, "")
    await greet(booth)
    await booth.deliver(0, 200, "Good ")
    await booth.send(Control(action="clear", generation=2))
    await booth.until_told("cancel", 2, "")
    await booth.deliver(0, 150, "day! ")
    await booth.deliver(0, 240, "How can I help?", last=True)
    await idle()
    assert heard(booth) == WHOLE[:1]
    await rehearse(await desk.call())


async def test_after_an_interruption_the_voice_speaks_as_ever() -> None:
    booth = await Desk().call()
    await rehearse(booth)
    await greet(booth)
    await booth.send(Control(action="clear", generation=2), say(3, "Yes. "))
    await booth.until_told("speak", 3, "Yes. ")
    await booth.deliver(3, 100, "Yes. ")
    assert heard(booth) == [*WHOLE, (3, 0, "Yes. ", False)]


async def test_a_recorded_greeting_can_be_asked_for_again() -> None:
    booth = await Desk().call()
    await rehearse(booth)
    await greet(booth)
    await booth.send(say(2, "Yes. "))
    await greet(booth, 3)
    assert heard(booth) == [*WHOLE, *((3, *rest) for _, *rest in WHOLE)]
    await booth.until_told("cancel", 3, "")


@pytest.mark.parametrize(
    "other",
    [say(1, GREETING), say(1, GREETING, 1, turn_id=0), say(1, GREETING + " ", turn_id=0)],
    ids=["an answer", "a later piece", "other words"],
)
async def test_what_is_not_the_greeting_is_spoken(other: ReplyText) -> None:
    booth = await Desk().call()
    await rehearse(booth)
    await booth.send(other)
    await booth.until_told("speak", 1, other.text)


async def test_a_reply_that_comes_first_ends_the_rehearsal() -> None:
    booth = await Desk().call()
    await booth.until_told("end", 0, "")
    await booth.deliver(0, 200, "Good ")
    await booth.send(say(7, "Where were we? "))
    await booth.until_told("speak", 7, "Where were we? ")
    assert booth.voice.told.index(("cancel", 7, "")) < booth.voice.told.index(("speak", 7, "Where were we? "))
    await booth.deliver(0, 150, "day! ", last=True)
    await booth.send(say(8, GREETING, turn_id=0))
    await booth.until_told("speak", 8, GREETING)
    assert booth.published == []


async def test_the_words_of_a_rehearsal_are_billed_once() -> None:
    booth = await Desk().call()
    messages = await Heard.on(booth.bus, CALL)
    await rehearse(booth)
    await greet(booth)
    await booth.close()
    assert (await messages.wait_for(UsageCounted)).amounts == {"characters": len(GREETING)}


class BrokenBus(MemoryBus):
    """Its object store does not work, or does not answer until it may."""

    def __init__(self, *, hangs: bool) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()
        self.hangs = hangs

    async def objects(self, name: str, ttl_s: float) -> ObjectStore:
        if not self.hangs:
            raise Disconnected("no broker")
        await self.may_answer.wait()
        return await super().objects(name, ttl_s)


async def keep(bus: MemoryBus) -> None:
    """Another worker has recorded the greeting."""
    store = await MemoryBus.objects(bus, STORE, KEEP_S)
    await store.put(key_of("scripted", Booth(GREETING).call.profile), encode(RECORDING))


async def test_without_a_store_the_greeting_is_spoken_in_every_process() -> None:
    desk = Desk(BrokenBus(hangs=False))
    booth = await desk.call()
    await rehearse(booth)
    await greet(booth)
    assert heard(booth) == WHOLE


async def test_a_greeting_asked_for_at_once_waits_for_the_broker_a_moment() -> None:
    bus = BrokenBus(hangs=True)
    await keep(bus)
    booth = await Desk(bus).call()
    await greet(booth)
    assert booth.published == []
    bus.may_answer.set()
    await idle()
    assert heard(booth) == WHOLE
    assert booth.voice.told == []


async def test_a_slow_broker_holds_up_neither_the_lease_nor_the_greeting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greetings, "_PATIENCE_S", 0.02)
    booth = await asyncio.wait_for(Desk(BrokenBus(hangs=True)).call(), 1)
    await greet(booth)
    await asyncio.wait_for(rehearse(booth), 1)
    assert heard(booth) == WHOLE


async def test_a_recording_that_comes_after_the_dialogue_has_begun_is_not_played_by_itself() -> None:
    bus = BrokenBus(hangs=True)
    await keep(bus)
    booth = await Desk(bus).call()
    await booth.send(say(1, "Where were we? "))
    bus.may_answer.set()
    await idle()
    assert booth.published == []
    await greet(booth, 2)
    assert heard(booth) == [(2, *rest) for _, *rest in WHOLE]


async def test_an_agent_without_a_greeting_asks_for_none() -> None:
    desk = Desk(asking := CountingBus())
    booth = await desk.call("  ")
    await idle()
    assert (asking.opened, booth.voice.told) == (0, [])


async def test_the_recording_holds_what_was_said_in_order() -> None:
    desk = Desk()
    booth = await desk.call()
    await rehearse(booth)
    await idle()
    value = await (await desk.stored()).get(key_of("scripted", booth.call.profile))
    assert value is not None
    assert msgpack.unpackb(value) == [[cut.mulaw, cut.text] for cut in RECORDING]
