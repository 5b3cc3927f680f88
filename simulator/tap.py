"""Listens on the broker to what a call's people said and heard, and where each turn's time went."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple, TypeVar

import structlog
from pydantic import ValidationError

from shared import subjects
from shared.bus import Bus, Subscription
from shared.messages import MESSAGES, AudioOut, BadFrame, Message, TranscriptAgent, TranscriptCaller, TurnCompleted
from shared.messages.audio import unpack_out

log = structlog.get_logger()

AnyMessage = TypeVar("AnyMessage", bound=Message)


class Piece(NamedTuple):
    """A piece of a reply's audio, and when it was published."""

    came: float
    """Seconds of the tap's clock."""
    frame: AudioOut


class Tap:
    """The transcripts and events of one call, or of all, as they come."""

    def __init__(
        self,
        on_message: Callable[[Message], None] = lambda message: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_message` is called with each message at once."""
        self.messages: list[Message] = []
        """All that came, in order of arrival."""
        self.pieces: list[Piece] = []
        """All audio of the agent that came, when `open` was asked for `audio.out`."""
        self._on_message = on_message
        self._clock = clock
        self._subscriptions: list[Subscription] = []
        self._changed = asyncio.Event()

    async def open(self, bus: Bus, call_id: str | None = None, more: Sequence[str] = ()) -> None:
        """Listen to `call_id`, or to all calls; returns when the broker knows. Raises InvalidId.

        `more` are further subjects after `call.<id>.`, such as `playback` or `audio.out`.
        """
        for suffix in ("transcript.*", "event.*", *more):
            # Never `call.>`: on audio.in it would hide from the gateway that nobody listens.
            subject = f"call.*.{suffix}" if call_id is None else subjects.call(call_id, suffix)
            self._subscriptions.append(await bus.subscribe(subject, self._receive))
        await bus.flush()

    async def close(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            await subscription.drain()

    async def _receive(self, subject: str, payload: bytes) -> None:
        suffix = subjects.parse(subject).suffix
        try:
            if suffix == "audio.out":
                self.pieces.append(Piece(self._clock(), unpack_out(payload)))
                return
            kind = MESSAGES.get(suffix)
            if kind is None:
                return
            message = kind.model_validate_json(payload)
        except ValidationError as error:
            log.warning("message_dropped", subject=subject, reason=str(error.errors()[0]["msg"]))
            return
        except BadFrame as error:
            log.warning("message_dropped", subject=subject, reason=str(error))
            return
        self.messages.append(message)
        self._on_message(message)
        self._changed.set()
        self._changed = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Every message from the first one on, as it comes; never ends."""
        read = 0
        while True:
            while read < len(self.messages):
                read += 1
                yield self.messages[read - 1]
            await self._changed.wait()

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `condition` holds, asked after each message; False when it did not in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def since(self, mark: int) -> "Exchange":
        """What came after the first `mark` messages."""
        return Exchange(self.messages[mark:])


class Exchange:
    """The messages that belong to one line of the caller."""

    def __init__(self, messages: list[Message]) -> None:
        """In order of arrival."""
        self._messages = messages

    def of(self, kind: type[AnyMessage]) -> list[AnyMessage]:
        """Those of one kind."""
        return [message for message in self._messages if isinstance(message, kind)]

    @property
    def caller(self) -> str:
        """What the platform understood."""
        return " ".join(message.text for message in self.of(TranscriptCaller)).strip()

    @property
    def agent(self) -> str:
        """What the caller heard, as the platform knows it."""
        return " ".join(message.text for message in self.of(TranscriptAgent)).strip()

    @property
    def timing(self) -> TurnCompleted | None:
        """Where the time of the (last) turn went."""
        timings = self.of(TurnCompleted)
        return timings[-1] if timings else None

    @property
    def complete(self) -> bool:
        """Every turn of the caller was answered and measured."""
        turns = {message.turn_id for message in self.of(TranscriptCaller)}
        answered = {message.turn_id for message in self.of(TranscriptAgent)}
        measured = {message.turn_id for message in self.of(TurnCompleted)}
        return bool(turns) and turns <= answered and turns <= measured
