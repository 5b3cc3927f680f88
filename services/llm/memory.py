"""What was said in a call, as the model is reminded of it: the caller's turns and what the caller heard."""

from collections.abc import Sequence

from services.llm.provider import ChatMessage
from services.llm.record import Entry, Record, Spoken

CUT_SHORT = " —"
"""Behind what was heard of a reply that was interrupted; the system prompt explains it."""
_KEPT_ASIDE = 2
"""A reply under way and its beginning on another line do not push out what its prompt held."""


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
        """The generation grows with every reply and every interruption; either takes a hang-up back."""
        self.record.generation += 1
        self.record.hang_up = None
        return self.record.generation

    def caller_said(self, text: str) -> int:
        """Remember a committed turn; returns its number."""
        self.record.turn_id += 1
        self._append(Entry(role="user", content=text, turn_id=self.record.turn_id))
        return self.record.turn_id

    def reply_began(self, turn_id: int, *, protected: bool = False, continues: bool = False) -> Spoken:
        """Keep the place of a reply that nobody has heard yet; `continues`: its beginning was heard on another line."""
        generation = self.next_generation()
        self._append(
            Entry(
                role="assistant",
                content="",
                turn_id=turn_id,
                generation=generation,
                continues=continues,
                playing=True,
            )
        )
        self.record.reply = Spoken(generation=generation, turn_id=turn_id, protected=protected)
        return self.record.reply

    def heard(self, generation: int, text: str, *, over: bool, interrupted: bool = False) -> Entry | None:
        """The caller has heard `text` of a reply, and no more will come when it is `over`.

        Returns the reply, or None when it is unknown or was over before. One that nobody heard is forgotten.
        A reply that is interrupted without an order of the dialogue has lost its line, and goes on with the next.
        """
        reply, record = self.record.reply, self.record
        for entry in reversed(record.messages):
            if entry.playing and entry.generation == generation and entry.role == "assistant":
                entry.content = text
                entry.playing = not over
                entry.interrupted = interrupted
                if over and not text.strip():
                    record.messages.remove(entry)
                if reply is not None and reply.generation == generation:
                    reply.heard = text
                    reply.over = over and not (interrupted and generation == record.generation)
                return entry
        return None

    def line_lost(self) -> Entry | None:
        """The line of the newest reply is gone: nothing has cut it short.

        Returns its beginning when the caller may have heard more of it until now.
        """
        reply = self.record.alive
        if reply is None:
            return None
        entry = self.heard(reply.generation, reply.heard, over=True)
        for said in self.record.messages:
            if said.generation == reply.generation:
                said.interrupted = False
        reply.over = True
        return entry

    def prompt(self, system: str, upcoming: str = "") -> list[ChatMessage]:
        """The conversation for the model, after the prompt `system`.

        What the caller said without a reply between is one message. `upcoming` is a turn that is not committed:
        the prompt is the one that `caller_said(upcoming)` would lead to, and nothing is remembered.
        """
        entries = list(self.record.messages)
        if upcoming.strip():
            entries.append(Entry(role="user", content=upcoming, turn_id=0))
        return self._prompt(system, entries)

    def prompt_of(self, reply: Spoken, system: str) -> list[ChatMessage]:
        """The prompt that `reply` answers."""
        entries = [entry for entry in self.record.messages if entry.generation < reply.generation]
        while reply.before and entries and entries[-1].role == "assistant" and entries[-1].turn_id == reply.turn_id:
            entries.pop()
        return self._prompt(system, entries)

    def _prompt(self, system: str, entries: Sequence[Entry]) -> list[ChatMessage]:
        messages = [ChatMessage(role="system", content=system)]
        for entry in entries[-self._max_messages :]:
            content = self._content(entry)
            before = messages[-1].role
            if content and entry.role == before and (before == "user" or entry.continues):
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
        del self.record.messages[: -self._max_messages - _KEPT_ASIDE]
