"""The seam to a language model: what every LLM provider offers, and nothing more."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict


class ChatMessage(BaseModel):
    """One message of the conversation."""

    model_config = ConfigDict(frozen=True)

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next bit of the reply."""

    text: str


@dataclass(frozen=True, slots=True)
class EndCall:
    """The model wants to hang up when its reply was heard: its tool call `end_call`."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the reply cost; comes once, last."""

    model: str
    input_tokens: int
    output_tokens: int


ReplyItem = TextDelta | EndCall | Usage


class ProviderFailed(Exception):
    """The model gave no reply, or only a part of it; the message says why."""


class ChatModel(Protocol):
    """One call's model."""

    @property
    def name(self) -> str:
        """What its usage is counted under when the provider did not tell it."""

    def reply(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[ReplyItem, None]:
        """Stream the reply to `messages`, the system prompt first. Closing the iterator cancels it.

        Words first, then EndCall at most once, also without any words. Raises ProviderFailed while iterating.
        """

    async def close(self) -> None:
        """The call has ended. Never raises, never takes longer than a second."""
