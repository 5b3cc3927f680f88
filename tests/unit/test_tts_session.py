"""One call's voice: generations, clears, offsets, moments, the bill."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from services.tts.greetings import Greetings
from services.tts.provider import Piece, Usage
from services.tts.session import TtsSession
from shared.agents import TtsProfile
from shared.audio import bytes_of
from shared.call import Call
from shared.channel import CallChannel
from shared.memory_bus import MemoryBus
from shared.messages import (
    AudioOut,
    Control,
    ErrorHappened,
    Message,
    ReplyEnd,
    ReplyText,
    UsageCounted,
)
from shared.messages.audio import unpack_out
from tests.fakes import Heard, profile

CALL = "CA1"


class ScriptedVoice:
    """A synthesizer that only notes what it is told; the test delivers the pieces."""

    model = "scripted-1"
    provider = "scripted"

    def __init__(self) -> None:
        self.told: list[tuple[str, int, str]] = []
        self.may_speak = asyncio.Event()
        self.may_speak.set()
        self.error: Exception | None = None
        self.closed = False

    async def speak(self, generation: int, text: str) -> None:
        self.told.append(("speak", generation, text))
        await self.may_speak.wait()
        if self.error is not None:
            raise self.error

    async def end(self, generation: int) -> None:
        self.told.append(("end", generation, ""))

    async def cancel(self, generation: int) -> None:
        self.told.append(("cancel", generation, ""))

    def usage(self) -> list[Usage]:
        characters = sum(len(text) for _, _, text in self.told)
        return [Usage(self.provider, self.model, characters)] if characters else []

    async def close(self) -> None:
        self.closed = True


class Booth:
    """A session at work, and the dialogue that talks to it."""

    def __init__(
        self,
        greeting: str = "",
        greetings: Greetings | None = None,
        bus: MemoryBus | None = None,
        voice: str = "",
        line: int = 0,
    ) -> None:
        self.bus = bus or MemoryBus()
        agent = profile().model_copy(update={"greeting": greeting, "tts": TtsProfile(voice=voice)})
        self.call = Call(agent, CallChannel(self.bus, CALL, "tts", 2 if line else 1), line)
        self.gateway = CallChannel(self.bus, CALL, "gateway", line or 1)
        self.dialogue = CallChannel(self.bus, CALL, "llm", 1)
        self.voice = ScriptedVoice()
        self.now = 1000.0
        self.session = TtsSession(self.call, "scripted", greetings or Greetings(), clock=lambda: self.now)

    async def close(self) -> None:
        await self.session.close()
        await self.call.close()

    async def send(self, *messages: Message) -> None:
        for message in messages:
            await self.dialogue.send(message)
        await self.bus.settle()

    async def until_told(self, *order: object) -> None:
        async with asyncio.timeout(5):
            while order not in self.voice.told:
                await asyncio.sleep(0)

    async def until_settled(self) -> None:
        async with asyncio.timeout(5):
            while not self.session.settled:
                await asyncio.sleep(0)

    async def deliver(self, generation: int, ms: int, text: str = "", *, last: bool = False) -> None:
        await self.session.deliver(Piece(generation, b"\x01" * bytes_of(ms), text, last))

    @property
    def published(self) -> list[AudioOut]:
        return [unpack_out(body) for subject, body in self.bus.published if subject == f"call.{CALL}.audio.out"]


@pytest_asyncio.fixture
async def booth() -> AsyncIterator[Booth]:
    made = Booth()
    await made.session.begin(made.voice)
    yield made
    await made.close()
    await made.bus.close()


def say(generation: int, text: str, sequence: int = 0, turn_id: int = 1) -> ReplyText:
    return ReplyText(generation=generation, turn_id=turn_id, sequence=sequence, text=text)


def end(generation: int, pieces: int = 1, turn_id: int = 1) -> ReplyEnd:
    return ReplyEnd(generation=generation, turn_id=turn_id, pieces=pieces)


async def test_a_reply_is_spoken_in_order_and_ended(booth: Booth) -> None:
    await booth.send(say(1, "One. "), say(1, "Two.", 1), end(1, 2))
    await booth.until_told("end", 1, "")
    assert booth.voice.told == [("cancel", 1, ""), ("speak", 1, "One. "), ("speak", 1, "Two."), ("end", 1, "")]


async def test_offsets_count_within_each_reply(booth: Booth) -> None:
    await booth.send(say(1, "One. "))
    await booth.deliver(1, 200, "One. ")
    await booth.deliver(1, 150)
    await booth.send(say(2, "Two. "))
    await booth.deliver(2, 100, "Two. ")
    await booth.deliver(2, 0, last=True)
    assert [(p.generation, p.offset_ms, p.text, p.last) for p in booth.published] == [
        (1, 0, "One. ", False),
        (1, 200, "", False),
        (2, 0, "Two. ", False),
        (2, 100, "", True),
    ]
    assert [len(piece.payload) for piece in booth.published] == [1600, 1200, 800, 0]


async def test_every_piece_tells_the_turn_and_when_its_reply_was_asked_for(booth: Booth) -> None:
    await booth.send(say(1, "One. ", turn_id=4))
    booth.now += 3.5
    await booth.deliver(1, 200, "One. ")
    await booth.send(say(1, "Two. ", 1, turn_id=4), end(1, 2, turn_id=4))
    await booth.deliver(1, 100, "Two. ", last=True)
    await booth.send(say(2, "Three. ", turn_id=5))
    await booth.deliver(2, 100, "Three. ")
    assert [(p.generation, p.turn_id, p.asked_at) for p in booth.published] == [
        (1, 4, 1000.0),
        (1, 4, 1000.0),
        (2, 5, 1003.5),
    ]


async def test_a_reply_that_was_never_begun_was_never_asked_for(booth: Booth) -> None:
    await booth.send(end(1, 0))
    await booth.deliver(1, 0, last=True)
    assert [(p.asked_at, p.last) for p in booth.published] == [(0.0, True)]


async def test_text_that_comes_again_is_spoken_once(booth: Booth) -> None:
    await booth.send(say(1, "One. "), say(1, "Two. ", 1), say(1, "One. "), say(1, "Two. ", 1), say(1, "Three. ", 2))
    await booth.send(end(1, 3), end(1, 3))
    await booth.until_told("end", 1, "")
    spoken = [text for verb, _, text in booth.voice.told if verb == "speak"]
    assert spoken == ["One. ", "Two. ", "Three. "]


async def test_a_pause_leaves_the_voice_alone(booth: Booth) -> None:
    await booth.send(say(1, "One. "), Control(action="pause", generation=1), Control(action="resume", generation=1))
    await booth.until_told("speak", 1, "One. ")
    await booth.deliver(1, 200, "One. ")
    assert [piece.text for piece in booth.published] == ["One. "]
    assert booth.voice.told == [("cancel", 1, ""), ("speak", 1, "One. ")]


async def test_text_of_an_older_reply_is_dropped(booth: Booth) -> None:
    await booth.send(say(2, "New. "), say(1, "Old. "), end(1), end(2))
    await booth.until_told("end", 2, "")
    assert ("speak", 1, "Old. ") not in booth.voice.told
    assert ("end", 1, "") not in booth.voice.told


async def test_a_newer_reply_cancels_the_older_one(booth: Booth) -> None:
    await booth.send(say(1, "Old. "), say(2, "New. "))
    await booth.until_told("speak", 2, "New. ")
    assert booth.voice.told.index(("cancel", 2, "")) < booth.voice.told.index(("speak", 2, "New. "))


async def test_a_clear_silences_at_once_even_while_audio_is_made(booth: Booth) -> None:
    booth.voice.may_speak.clear()
    await booth.send(say(1, "Old. "), say(1, "Never said. ", 1))
    await booth.until_told("speak", 1, "Old. ")
    await booth.send(Control(action="clear", generation=2))
    await booth.deliver(1, 200, "Old. ")
    booth.voice.may_speak.set()
    await booth.until_told("cancel", 2, "")
    assert booth.published == []
    assert ("speak", 1, "Never said. ") not in booth.voice.told


async def test_the_reply_of_the_clear_itself_is_heard(booth: Booth) -> None:
    await booth.send(say(2, "New. "), Control(action="clear", generation=2))
    await booth.deliver(2, 200, "New. ")
    assert [piece.text for piece in booth.published] == ["New. "]


async def test_a_hangup_order_leaves_the_reply_alone(booth: Booth) -> None:
    await booth.send(say(1, "Goodbye. "), Control(action="hangup", generation=9))
    await booth.deliver(1, 200, "Goodbye. ")
    assert [piece.text for piece in booth.published] == ["Goodbye. "]


async def test_a_reply_is_ended_once(booth: Booth) -> None:
    await booth.send(say(1, "One. "), end(1), end(1), say(1, "Late. ", 1), say(2, "Two. "))
    await booth.until_told("speak", 2, "Two. ")
    assert booth.voice.told.count(("end", 1, "")) <= 1
    assert ("speak", 1, "Late. ") not in booth.voice.told


async def test_the_bill_counts_the_characters_that_were_given_to_the_voice(booth: Booth) -> None:
    heard = await Heard.on(booth.bus, CALL)
    await booth.send(say(1, "Four"), end(1))
    await booth.until_told("end", 1, "")
    await booth.session.close()
    usage = await heard.wait_for(UsageCounted)
    assert (usage.provider, usage.model, usage.amounts) == ("scripted", "scripted-1", {"characters": 4})
    assert booth.voice.closed


async def test_a_voice_that_breaks_fails_the_session(booth: Booth) -> None:
    heard = await Heard.on(booth.bus, CALL)
    booth.voice.error = RuntimeError("broken")
    await booth.send(say(1, "One. "))
    error = await heard.wait_for(ErrorHappened)
    assert error.fatal
    assert "broken" in error.error
