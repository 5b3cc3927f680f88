"""What was said in a call, as the model is reminded of it: the caller's turns and what the caller heard."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal

import structlog
from prometheus_client import Counter
from pydantic import BaseModel, ValidationError

from services.llm.provider import ChatMessage
from shared.bus import Bucket, BusError

log = structlog.get_logger()

BUCKET = "dialogues"
KEEP_S = 24 * 3600
CUT_SHORT = " —"
"""Behind what was heard of a reply that was interrupted; the system prompt explains it."""
_SAVES_FAILED = Counter("trunkline_dialogue_saves_failed_total", "Dialogues that could not be saved")


class Entry(BaseModel):
    """One message of the conversation."""

    role: Literal["user", "assistant"]
    content: str
    """Of the assistant: what the caller heard, not what the model wrote."""
    turn_id: int
    """0 for the greeting."""
    generation: int = 0
    """Of the assistant: the reply."""
    playing: bool = False
    """The caller may still hear more of it."""
    interrupted: bool = False
    """Of the assistant: the caller did not hear the rest."""


class Record(BaseModel):
    """A dialogue as it is kept in the bucket."""

    generation: int = 0
    turn_id: int = 0
    messages: list[Entry] = []


class Memory:
    """One call's dialogue. `max_messages` of it are remembered, the newest."""

    def __init__(self, record: Record, max_messages: int) -> None:
        """`record` belongs to this memory from now on."""
        self.record = record
        self._max_messages = max_messages

    @property
    def begun(self) -> bool:
        """Whether anything was said yet."""
        return self.record.generation > 0

    def next_generation(self) -> int:
        """The generation grows with every reply and every interruption."""
        self.record.generation += 1
        return self.record.generation

    def caller_said(self, text: str) -> int:
        """Remember a committed turn; returns its number."""
        self.record.turn_id += 1
        self._append(Entry(role="user", content=text, turn_id=self.record.turn_id))
        return self.record.turn_id

    def reply_began(self, turn_id: int) -> int:
        """Keep the place of a reply that nobody has heard yet; returns its generation."""
        generation = self.next_generation()
        entry = Entry(role="assistant", content="", turn_id=turn_id, generation=generation, playing=True)
        self._append(entry)
        return generation

    def heard(self, generation: int, text: str, *, over: bool, interrupted: bool = False) -> Entry | None:
        """The caller has heard `text` of a reply, and no more will come when it is `over`.

        Returns the reply, or None when it is unknown or was over before. One that nobody heard is forgotten.
        """
        for entry in self.record.messages:
            if entry.role == "assistant" and entry.generation == generation and entry.playing:
                entry.content = text
                entry.playing = not over
                entry.interrupted = interrupted
                if over and not text.strip():
                    self.record.messages.remove(entry)
                return entry
        return None

    def prompt(self, system: str, upcoming: str = "") -> list[ChatMessage]:
        """The conversation for the model, after the prompt `system`.

        What the caller said without a reply between is one message. `upcoming` is a turn that is not committed:
        the prompt is the one that `caller_said(upcoming)` would lead to, and nothing is remembered.
        """
        entries = list(self.record.messages)
        if upcoming.strip():
            entries.append(Entry(role="user", content=upcoming, turn_id=0))
        messages = [ChatMessage(role="system", content=system)]
        for entry in entries[-self._max_messages :]:
            content = self._content(entry)
            if content and entry.role == messages[-1].role == "user":
                content = f"{messages.pop().content} {content}"
            if content:
                messages.append(ChatMessage(role=entry.role, content=content))
        return messages

    def _content(self, entry: Entry) -> str:
        """What the model reads of `entry`."""
        content = entry.content.strip()
        # A reply that is void counts as interrupted before the gateway has told what was heard of it.
        cut_short = entry.interrupted or (entry.playing and entry.generation < self.record.generation)
        return content + CUT_SHORT if content and cut_short else content

    def _append(self, entry: Entry) -> None:
        self.record.messages.append(entry)
        del self.record.messages[: -self._max_messages]


class MemoryStore:
    """Keeps one call's dialogue in the bucket, so that another worker can go on with it."""

    def __init__(
        self, bucket: Bucket, call_id: str, spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    ) -> None:
        """`spawn` runs the saving beside the call."""
        self._bucket = bucket
        self._call_id = call_id
        self._spawn = spawn
        self._unsaved: bytes | None = None
        self._saving: asyncio.Task[None] | None = None

    async def load(self) -> Record:
        """The dialogue so far, or a new one. Raises BusError when it cannot be known."""
        found = await self._bucket.get(self._call_id)
        try:
            return Record() if found is None else Record.model_validate_json(found[0])
        except ValidationError as error:
            raise BusError(f"the dialogue of {self._call_id} cannot be read") from error

    def save(self, record: Record) -> None:
        """Keep `record` as it is now. Only the newest state is written when the broker is slow."""
        self._unsaved = record.model_dump_json().encode()
        if self._saving is None or self._saving.done():
            self._saving = self._spawn(self._write())

    async def _write(self) -> None:
        while self._unsaved is not None:
            value, self._unsaved = self._unsaved, None
            try:
                await self._bucket.put(self._call_id, value)
            except BusError as error:
                _SAVES_FAILED.inc()
                log.error("dialogue_not_saved", call_id=self._call_id, error=str(error))

    async def close(self, timeout_s: float) -> None:
        """Wait for the last save, but not longer than `timeout_s`."""
        if self._saving is not None:
            await asyncio.wait((self._saving,), timeout=timeout_s)
