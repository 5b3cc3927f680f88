"""Stand-ins for the other side of a seam, for tests."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

from services.gateway.media import Digit, HungUp, Mark, MediaEvent, OnAudio
from shared.agents import AgentProfile, Directory, load
from shared.bus import Bus
from shared.call import Call
from shared.messages import MESSAGES, Message
from shared.stage import CannotServe

M = TypeVar("M", bound=Message)
ROOT = Path(__file__).parents[1]


def directory() -> Directory:
    """The agents that ship with the repository."""
    return load(ROOT / "agents.yaml")


def profile(name: str = "bella") -> AgentProfile:
    """One of the agents that ship with the repository."""
    return next(agent for agent in directory().agents if agent.name == name)


class FakeSession:
    """Remembers that it was closed."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.closed = asyncio.Event()

    async def close(self) -> None:
        self.closed.set()


class FakeStage:
    """A stage whose sessions do nothing; it can be told to refuse, or to take long to open."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.sessions: dict[str, FakeSession] = {}
        self.refuse = ""
        self.may_open = asyncio.Event()
        self.may_open.set()
        self.opening = asyncio.Event()

    @property
    def name(self) -> str:
        return self._name

    async def open(self, call: Call) -> FakeSession:
        self.opening.set()
        await self.may_open.wait()
        if self.refuse:
            raise CannotServe(self.refuse)
        self.sessions[call.id] = session = FakeSession(call)
        return session


class FakeMedia:
    """A carrier's socket: a test feeds events and looks at what was played."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[MediaEvent | tuple[int, bytes] | None] = asyncio.Queue()
        self.played: list[tuple[bytes, str]] = []
        self.clears = 0
        self.closed: str | None = None
        self.changed = asyncio.Event()

    async def events(self, on_audio: OnAudio) -> AsyncIterator[MediaEvent]:
        while (event := await self._events.get()) is not None:
            if isinstance(event, Mark | Digit | HungUp):
                yield event
            else:
                on_audio(*event)

    def say(self, timestamp_ms: int, payload: bytes) -> None:
        self._events.put_nowait((timestamp_ms, payload))

    def mark(self, name: str) -> None:
        self._events.put_nowait(Mark(name))

    def press(self, digit: str) -> None:
        self._events.put_nowait(Digit(digit))

    def hang_up(self) -> None:
        self._events.put_nowait(HungUp())

    def drop(self) -> None:
        self._events.put_nowait(None)

    async def play(self, mulaw: bytes, mark: str) -> None:
        self.played.append((mulaw, mark))
        self.changed.set()

    async def clear(self) -> None:
        self.clears += 1
        self.changed.set()

    async def close(self, reason: str) -> None:
        self.closed = self.closed or reason
        self._events.put_nowait(None)

    async def until_played(self, count: int) -> None:
        """Return when `count` pieces were played."""
        async with asyncio.timeout(5):
            while len(self.played) < count:
                self.changed.clear()
                await self.changed.wait()


class Heard:
    """Collects one call's messages from a bus and lets a test wait for one of a type."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._changed = asyncio.Event()

    @classmethod
    async def on(cls, bus: Bus, call_id: str) -> "Heard":
        heard = cls()
        await bus.subscribe(f"call.{call_id}.>", heard._receive)
        await bus.flush()
        return heard

    async def _receive(self, subject: str, payload: bytes) -> None:
        suffix = subject.split(".", 2)[2]
        if suffix in MESSAGES:
            self.messages.append(MESSAGES[suffix].model_validate_json(payload))
            self._changed.set()

    async def wait_for(self, kind: type[M], count: int = 1, timeout_s: float = 5) -> M:
        """The `count`th message of a type, as soon as it is there."""
        async with asyncio.timeout(timeout_s):
            while len(found := [message for message in self.messages if isinstance(message, kind)]) < count:
                self._changed.clear()
                await self._changed.wait()
        return found[count - 1]
