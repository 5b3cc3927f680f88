"""A dialogue as it is kept: all that another worker has to know to go on with it.

It is written several times in a turn. What has its default is left out of the JSON.
"""

from typing import Literal

import msgspec

from services.llm.standing import Standing


class Entry(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One message of the conversation."""

    role: Literal["user", "assistant"]
    content: str
    """Of the assistant: what the caller heard, not what the model wrote."""
    turn_id: int
    """0 for the greeting."""
    generation: int = 0
    """Of the assistant: the reply."""
    continues: bool = False
    """Of the assistant: the rest of the entry before, said on another line."""
    playing: bool = False
    """The caller may still hear more of it."""
    interrupted: bool = False
    """Of the assistant: the caller did not hear the rest."""


class Spoken(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A reply as it was sent to tts."""

    generation: int
    turn_id: int
    protected: bool = False
    before: str = ""
    """What the caller heard of it on an earlier line."""
    pieces: list[str] = []
    ended: bool = False
    """There is nothing more to say than the pieces."""
    heard: str = ""
    """The words of the pieces that the caller has heard, as the line told last."""
    over: bool = False
    """No more of it will be heard."""

    @property
    def text(self) -> str:
        """All pieces."""
        return "".join(self.pieces)


class Record(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One call's dialogue."""

    epoch: int = 0
    """The lease of the worker that has it."""
    line: int = 0
    """The newest line that the dialogue knows of; 0: none was open yet."""
    generation: int = 0
    turn_id: int = 0
    messages: list[Entry] = []
    reply: Spoken | None = None
    """The newest."""
    hang_up: int | None = None
    """The call was ordered to end when the reply of this generation was heard; 0: at once."""
    key: int = 0
    """The number of the last key that was taken."""
    standing: Standing = Standing()

    @property
    def alive(self) -> Spoken | None:
        """The reply that the caller hears, or is to hear."""
        reply = self.reply
        return reply if reply is not None and reply.generation == self.generation and not reply.over else None
