"""The llm worker dies at each of its messages in turn: the caller hears every word of every answer, once."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import msgspec
import pytest

from services.llm.dialogue import Dialogue
from services.llm.provider import ChatMessage, ChatModel, EndCall, ReplyItem, TextDelta
from services.llm.record import Record
from services.llm.stage import LlmStage
from services.llm.store import BUCKET, KEEP_S
from shared import subjects
from shared.agents import AgentProfile
from shared.bus import Bucket
from shared.call import Call
from shared.channel import CallChannel
from shared.memory_bus import MemoryBus
from shared.messages import (
    MESSAGES,
    Control,
    Message,
    Playback,
    ReplyEnd,
    ReplyOnLine,
    ReplyText,
    SpeechFinal,
    SpeechStarted,
    SpeechStopped,
    StageTaken,
)
from tests.llm_phone import PROFILE, STARTED, abandon

ANSWERS = {
    "what are your hours": "We are open from noon, until eleven. Every day of the week.",
    "that is all": "Thank you for your call, and goodbye!",
}
CONVERSATION = [PROFILE.greeting, *ANSWERS.values()]
MESSAGES_OF_A_WORKER = 21
"""So many messages a worker sends in the conversation, if it lives."""


class Waiter:
    """A model that answers what the caller said last, and ends the call with its last answer."""

    name = "waiter"
    provider = ""

    async def reply(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[ReplyItem, None]:
        asked = messages[-1].content
        for word in ANSWERS[asked].split(" "):
            yield TextDelta(f"{word} ")
        if asked == "that is all":
            yield EndCall()

    async def close(self) -> None:
        return None


class MortalBus:
    """The bus as a worker sees it that dies: with its last message, or when it wants to send the next one."""

    def __init__(self, bus: MemoryBus, messages: int, *, saves_last: bool) -> None:
        self._bus = bus
        self._left = messages
        self._saves_last = saves_last
        self.dead = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def live(self) -> None:
        if self.dead.is_set():
            await asyncio.Event().wait()

    async def publish(self, subject: str, payload: bytes) -> None:
        if self._left == 0:
            self.dead.set()
        await self.live()
        self._left -= 1
        await self._bus.publish(subject, payload)
        if self._left == 0 and not self._saves_last:
            self.dead.set()

    async def record(self, subject: str, payload: bytes) -> None:
        await self.publish(subject, payload)

    async def bucket(self, name: str, ttl_s: float) -> Bucket:
        return MortalBucket(self, await self._bus.bucket(name, ttl_s))


class MortalBucket:
    def __init__(self, bus: MortalBus, bucket: Bucket) -> None:
        self._bus = bus
        self._bucket = bucket

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bucket, name)

    async def create(self, key: str, value: bytes) -> int:
        await self._bus.live()
        return await self._bucket.create(key, value)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        await self._bus.live()
        return await self._bucket.update(key, value, revision)


class World:
    """The gateway, tts and stt of one call, which live, and the llm worker, which does not."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.heard: list[str] = []
        """Piece by piece, whatever the reply."""
        self.line = ReplyOnLine()
        self.hang_up: int | None = None
        self._sequence = -1
        self._gateway = CallChannel(self.bus, "CA1", "gateway", 1)
        self._stt = CallChannel(self.bus, "CA1", "stt", 1)
        self._told: list[Message] = []
        self.taken_over = False
        self._epoch = 0
        self._worker: tuple[Call, Dialogue] | None = None

    async def listen(self) -> None:
        async def receive(subject: str, payload: bytes) -> None:
            message = MESSAGES[subjects.parse(subject).suffix].model_validate_json(payload)
            if isinstance(message, ReplyText):
                self._speak(message)
            elif isinstance(message, ReplyEnd) and message.generation == self.line.generation:
                assert message.pieces == self._sequence + 1
                self.line = self.line.model_copy(update={"complete": True})
            elif isinstance(message, Control) and message.action == "hangup":
                self.hang_up = message.generation

        await self.bus.subscribe("call.CA1.>", receive)

    def _speak(self, piece: ReplyText) -> None:
        if piece.generation > self.line.generation:
            self.line = ReplyOnLine(generation=piece.generation, turn_id=piece.turn_id, started=True)
            self._sequence = -1
        if piece.generation == self.line.generation and piece.sequence > self._sequence:
            self._sequence = piece.sequence
            self.heard.append(piece.text)
            self.line = self.line.model_copy(update={"received": self.line.received + piece.text})

    async def lease(self, bus: Any, line: int) -> None:
        async def open_model(profile: AgentProfile) -> tuple[str, ChatModel]:
            return "waiter", Waiter()

        self._epoch += 1
        call = Call(PROFILE, CallChannel(bus, "CA1", "llm", self._epoch), line)
        self._worker = call, await LlmStage(open_model).open(call)

    async def take_over(self, line: int) -> None:
        """Another worker, which lives, comes after the one that died."""
        assert self._worker is not None
        self.taken_over = True
        await abandon(*self._worker)
        await self.lease(self.bus, line)
        taken = StageTaken(leased="llm", worker="w", lease_epoch=self._epoch, since=time.time(), reply=self.line)
        await self._gateway.send(taken)
        for message in self._told:
            await self._stt.send(message)

    async def open_line(self) -> None:
        await self._gateway.send(STARTED)

    async def play(self) -> None:
        """The caller hears the newest reply to its end."""
        said = self.line.received
        self.line = self.line.model_copy(update={"over": True, "heard": said, "heard_ms": 900})
        report = {"generation": self.line.generation, "heard_ms": 900, "heard": said}
        for state in ("started", "finished"):
            await self._gateway.send(Playback.model_validate({**report, "state": state}))

    async def say(self, utterance: int, text: str) -> None:
        self._told = [
            SpeechStarted(utterance=utterance, t_ms=utterance * 10_000, line=1),
            SpeechFinal(utterance=utterance, text=text, complete=True, line=1),
            SpeechStopped(utterance=utterance, t_ms=utterance * 10_000 + 900, ended_at=time.time() - 1),
        ]
        for message in self._told:
            await self._stt.send(message)

    async def close(self) -> None:
        assert self._worker is not None
        call, session = self._worker
        await session.close()
        await call.close()
        await self.bus.close()


async def converse(world: World, mortal: MortalBus) -> None:
    """The whole conversation; whoever dies is followed by another."""
    line = 0

    async def until(done: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not done():
                await asyncio.sleep(0)
                if mortal.dead.is_set() and not world.taken_over:
                    await world.take_over(line)

    await world.lease(mortal, 0)
    await world.open_line()
    line = 1
    await until(lambda: world.line.complete)
    await world.play()
    for number, asked in enumerate(ANSWERS, 1):
        await world.say(number, asked)
        await until(lambda number=number: world.line.turn_id == number and world.line.complete)  # type: ignore[misc]
        if number == len(ANSWERS):
            await until(lambda: world.hang_up == world.line.generation)
        await world.play()
        await world.bus.settle()
    if mortal.dead.is_set() and not world.taken_over:
        await world.take_over(line)
        await world.bus.settle()


@pytest.mark.parametrize("saves_last", [False, True])
@pytest.mark.parametrize("messages", range(MESSAGES_OF_A_WORKER))
async def test_the_caller_hears_every_word_once(messages: int, saves_last: bool) -> None:
    world = World()
    await world.listen()
    await converse(world, MortalBus(world.bus, messages, saves_last=saves_last))
    assert "".join(f"{piece} " for piece in world.heard).split() == " ".join(CONVERSATION).split()
    await world.close()
    found = await (await world.bus.bucket(BUCKET, KEEP_S)).get("CA1")
    assert found is not None
    record = msgspec.json.decode(found[0], type=Record)
    said = [(entry.role, entry.content.strip()) for entry in record.messages]
    questions = [("user", asked) for asked in ANSWERS]
    assert said == [
        ("assistant", CONVERSATION[0]),
        questions[0],
        ("assistant", CONVERSATION[1]),
        questions[1],
        ("assistant", CONVERSATION[2]),
    ]
