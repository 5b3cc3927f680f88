"""The seam to a language model: what every LLM provider offers, and nothing more."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of the conversation."""

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
    provider: str = ""
    """Who is to be paid; empty: the provider that the call was opened with."""


ReplyItem = TextDelta | EndCall | Usage


class ProviderFailed(Exception):
    """The model gave no reply, or only a part of it; the message says why."""

    def __init__(
        self,
        message: str,
        reason: str = "failed",
        *,
        again: bool = False,
        at_fault: bool = True,
        retry_after_s: float | None = None,
    ) -> None:
        """`reason` is one word of a small set; `again`: the same request may succeed, after `retry_after_s` if given.

        `at_fault`: other calls would fare the same with this provider; else it is the request that was wrong.
        """
        super().__init__(message)
        self.reason = reason
        self.again = again
        self.at_fault = at_fault
        self.retry_after_s = retry_after_s


class ChatModel(Protocol):
    """One call's model."""

    @property
    def name(self) -> str:
        """What its usage is counted under when the provider did not tell it."""

    @property
    def provider(self) -> str:
        """Whom the usage is paid to."""

    def reply(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[ReplyItem, None]:
        """Stream the reply to `messages`, the system prompt first. Closing the iterator cancels it.

        Words first, then EndCall at most once, also without any words. Raises ProviderFailed while iterating.
        """

    async def close(self) -> None:
        """The call has ended. Never raises, never takes longer than a second."""
