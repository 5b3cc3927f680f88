"""A call for the llm stage over the bus in memory: the test plays the caller and the other stages."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

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
    ReplyOnLine,
    ReplyText,
    SpeechFinal,
    SpeechPartial,
    SpeechStarted,
    SpeechStopped,
    StageTaken,
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
        self.profile = profile
        self.gateway = CallChannel(bus, "CA1", "gateway", 1)
        self.stt = CallChannel(bus, "CA1", "stt", 1)
        self.call = self._leased(epoch, 0)
        self.failed = False
        self.utterance = 0
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._unread: list[Message] = []
        self.session: Dialogue | None = None

    def _leased(self, epoch: int, line: int) -> Call:
        call = Call(self.profile, CallChannel(self.bus, "CA1", "llm", epoch), line)
        call.failed = self._fail
        return call

    def _fail(self) -> None:
        self.failed = True

    async def open(self, model: ChatModel) -> None:
        await self.listen()
        await self._open(model)

    async def _open(self, model: ChatModel) -> None:
        async def open_model(profile: AgentProfile) -> tuple[str, ChatModel]:
            return "scripted", model

        self.session = await LlmStage(open_model).open(self.call)

    async def kill(self) -> None:
        """The worker dies: it does nothing more, and closes nothing."""
        await self.bus.settle()
        await abandon(self.call, self.session)

    async def lease_again(self, model: ChatModel, line: int = 1) -> None:
        """Another worker opens the dialogue; the line `line` is open (0: none is)."""
        self.call = self._leased(self.call.channel.epoch + 1, line)
        await self._open(model)

    async def taken(self, leased: str = "llm", epoch: int | None = None, **reply: Any) -> None:
        """The gateway tells that `leased` was taken over, and how far the reply is."""
        number = self.call.channel.epoch if epoch is None else epoch
        line = ReplyOnLine.model_validate(reply)
        await self.gateway.send(
            StageTaken(leased=leased, worker="w", lease_epoch=number, since=time.time(), reply=line)
        )
        await self.bus.settle()

    async def take_over(self, model: ChatModel, **reply: Any) -> None:
        """The worker dies and another takes over; `reply` is what the line knows of the newest one."""
        await self.kill()
        await self.lease_again(model)
        await self.taken(**reply)

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

    async def start(self, line: int = 1) -> None:
        """The line is open; a number above 1: it is another one."""
        self.gateway.epoch = line
        await self.gateway.send(STARTED)
        await self.bus.settle()

    async def say(self, text: str) -> None:
        """The caller says `text`; silence has lasted long enough already."""
        await self.begin_to_say(text)
        await self.finish_saying(text)

    async def finish_saying(self, text: str) -> None:
        await self.stt.send(SpeechFinal(utterance=self.utterance, text=text, complete=True))
        await self.stt.send(SpeechStopped(utterance=self.utterance, t_ms=0, ended_at=time.time() - 1))

    async def begin_to_say(self, text: str) -> None:
        self.utterance += 1
        await self.stt.send(SpeechStarted(utterance=self.utterance, t_ms=0))
        await self.stt.send(SpeechPartial(utterance=self.utterance, text=text))

    async def heard(self, generation: int, text: str, state: str = "finished") -> None:
        report = {"generation": generation, "state": state, "heard": text, "heard_ms": 60 * len(text)}
        await self.gateway.send(Playback.model_validate({**report, "synthesized_at": time.time()}))
        await self.bus.settle()

    async def press(self, digit: str, number: int = 0) -> None:
        await self.gateway.send(Digit(digit=digit, number=number))
        await self.bus.settle()


async def abandon(call: Call, session: Dialogue | None) -> None:
    """What is left of a worker that died: no tasks, no timers, nothing said."""
    if session is not None:
        session._timer.set(None)
        session._waiting.set(None)
    await call.close()


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
