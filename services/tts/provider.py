"""The seam to a voice: what every TTS provider offers, and nothing more."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from shared.agents import TtsProfile


@dataclass(frozen=True, slots=True)
class Piece:
    """Some 100-500 ms of a reply, up to the end of a word; what is within a longer word has no text."""

    generation: int
    mulaw: bytes
    """8 kHz μ-law; empty only when `last`."""
    text: str
    """The words that end in it with their trailing white space; concatenated they are the reply's text."""
    last: bool = False


Listener = Callable[[Piece], Awaitable[None]]
Failure = Callable[[Exception], None]
"""Called when the provider is lost in mid-call."""


class Synthesizer(Protocol):
    """One call's voice. Text of a reply in, pieces of audio out through the listener it was opened with."""

    @property
    def model(self) -> str:
        """What the bill calls it."""

    async def speak(self, generation: int, text: str) -> None:
        """Speak the next clause of the reply `generation`, as soon as possible."""

    async def end(self, generation: int) -> None:
        """No more text: the reply's last piece carries `last`, also when no text came at all."""

    async def cancel(self, generation: int) -> None:
        """Drop every reply older than `generation`: no piece of theirs comes after this returns."""

    async def close(self) -> None:
        """The call has ended. Never raises, never takes longer than a second."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one provider was used for, texts that were said again included."""

    provider: str
    model: str
    characters: int


class BilledSynthesizer(Synthesizer, Protocol):
    """A synthesizer that knows who serves, and what it has cost."""

    @property
    def provider(self) -> str:
        """Who speaks now."""

    def usage(self) -> list[Usage]:
        """For the bill."""


Open = Callable[[TtsProfile, Listener, Failure], Awaitable[Synthesizer]]
"""Gets a call's voice ready to speak. Raises shared.stage.CannotServe with a sentence that says what to set."""
