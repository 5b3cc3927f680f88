"""A call for the llm stage over the bus in memory: the test plays the caller and the other stages."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from services.llm.dialogue import Dialogue
from services.llm.provider import ChatModel
from services.llm.stage import LlmStage
from shared import subjects
from shared.agents import AgentProfile
from shared.call import Call
from shared.channel import CallChannel
from shared.memory_bus import MemoryBus
from shared.messages import (
    MESSAGES,
    CallStarted,
    Digit,
    Message,
    Playback,
    ReplyEnd,
    ReplyText,
    SpeechFinal,
    SpeechPartial,
    SpeechStarted,
    SpeechStopped,
)
from shared.turn_taking import TurnProfile

M = TypeVar("M", bound=Message)
PROFILE = AgentProfile(
    name="bella",
    company="Bella Trattoria",
    prompt="You are Bella.",
    greeting="Bella Trattoria, good day! How can I help you?",
    turns=TurnProfile(endpointing_ms=100),
)
STARTED = CallStarted(gateway="g", caller="+1", dialled="+2", agent="bella")


class Phone:
    """A call whose other stages are played by the test."""

    def __init__(self, bus: MemoryBus, profile: AgentProfile = PROFILE, epoch: int = 1) -> None:
        self.bus = bus
        self.call = Call(profile, CallChannel(bus, "CA1", "llm", epoch))
        self.failed = False
        self.call.failed = self._fail
        self._gateway = CallChannel(bus, "CA1", "gateway", 1)
        self._stt = CallChannel(bus, "CA1", "stt", 1)
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._unread: list[Message] = []
        self._utterance = 0
        self.session: Dialogue | None = None

    def _fail(self) -> None:
        self.failed = True

    async def open(self, model: ChatModel) -> None:
        async def open_model(profile: AgentProfile) -> tuple[str, ChatModel]:
            return "scripted", model

        await self.listen()
        self.session = await LlmStage(open_model).open(self.call)

    async def listen(self) -> None:
        async def receive(subject: str, payload: bytes) -> None:
            message = MESSAGES[subjects.parse(subject).suffix].model_validate_json(payload)
            if message.stage == "llm":
                self._inbox.put_nowait(message)

        await self.bus.subscribe("call.CA1.>", receive)

    async def close(self) -> None:
        if self.session is not None:
            await self.session.close()
        await self.call.close()

    async def next(self, kind: type[M]) -> M:
        """The next message of `kind` that was not looked at yet; others stay."""
        async with asyncio.timeout(5):
            while True:
                for message in self._unread:
                    if isinstance(message, kind):
                        self._unread.remove(message)
                        return message
                self._unread.append(await self._inbox.get())

    async def reply(self) -> tuple[ReplyEnd, list[ReplyText]]:
        """The next reply that comes to its end, and its pieces."""
        end = await self.next(ReplyEnd)
        read = [message for message in self._unread if isinstance(message, ReplyText)]
        self._unread = [message for message in self._unread if message not in read]
        return end, [piece for piece in read if piece.generation == end.generation]

    async def start(self) -> None:
        await self._gateway.send(STARTED)

    async def say(self, text: str) -> None:
        """The caller says `text`; silence has lasted long enough already."""
        await self.begin_to_say(text)
        await self.finish_saying(text)

    async def finish_saying(self, text: str) -> None:
        await self._stt.send(SpeechFinal(utterance=self._utterance, text=text, complete=True))
        await self._stt.send(SpeechStopped(utterance=self._utterance, t_ms=0, ended_at=time.time() - 1))

    async def begin_to_say(self, text: str) -> None:
        self._utterance += 1
        await self._stt.send(SpeechStarted(utterance=self._utterance, t_ms=0))
        await self._stt.send(SpeechPartial(utterance=self._utterance, text=text))

    async def heard(self, generation: int, text: str, state: str = "finished") -> None:
        report = {"generation": generation, "state": state, "heard": text, "heard_ms": 60 * len(text)}
        await self._gateway.send(Playback.model_validate({**report, "synthesized_at": time.time()}))
        await self.bus.settle()

    async def press(self, digit: str) -> None:
        await self._gateway.send(Digit(digit=digit))
        await self.bus.settle()


def texts(pieces: Sequence[ReplyText]) -> list[str]:
    return [piece.text for piece in pieces]


class Exchange:
    """A bus and the phones on it."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self._phones: list[Phone] = []

    async def dial(self, model: ChatModel, profile: AgentProfile = PROFILE, epoch: int = 1) -> Phone:
        """A call whose dialogue is open."""
        phone = Phone(self.bus, profile, epoch)
        await phone.open(model)
        self._phones.append(phone)
        return phone

    def sent(self, suffix: str) -> int:
        """How many messages went to `call.CA1.<suffix>`."""
        return sum(subject == f"call.CA1.{suffix}" for subject, _ in self.bus.published)


@asynccontextmanager
async def exchange_open() -> AsyncIterator[Exchange]:
    """An exchange; its calls end with it."""
    exchange = Exchange()
    yield exchange
    for phone in exchange._phones:
        await phone.close()
    await exchange.bus.close()
