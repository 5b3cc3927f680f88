"""The seam to a speech recogniser: what every STT provider offers, and nothing more."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from shared.agents import AgentProfile
from shared.messages import Word

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What the provider understood."""

    text: str
    """Interim: all text since the last final one. Final: the next piece of transcript, maybe empty."""
    final: bool
    """The text will not change."""
    complete: bool = False
    """Final only: the answer to `finish`, or with `turn_over`; no more text comes for the utterance."""
    confidence: float = 1.0
    words: tuple[Word, ...] = ()
    """Their times count in the audio that was fed, from 0. Interim: the first and the last are enough, since they are
    asked only where the text lies."""
    silent_from_ms: int | None = None
    """Final only: the provider itself noticed that the caller fell silent here, counted as `words` are."""
    likely_over: bool = False
    """Interim only: the caller's turn probably ends here."""
    turn_over: bool = False
    """Final only: the caller's turn is over. It is complete, whether `finish` was called before or not."""
    given_up: bool = False
    """Complete only: the provider has fallen silent, and may not have heard all that was said."""


def ends(words: Sequence[Item]) -> Sequence[Item]:
    """The words of an interim text that tell where it lies: the first and the last."""
    return words if len(words) <= 2 else (words[0], words[-1])


Listener = Callable[[Hypothesis], None]
Failure = Callable[[Exception], None]
"""Called when the provider is lost in mid-call."""


class Transcriber(Protocol):
    """One call's recognition. 8 kHz μ-law in, hypotheses out through the listener it was opened with."""

    @property
    def model(self) -> str:
        """What the bill calls it."""

    async def feed(self, mulaw: bytes) -> None:
        """The next frame (20 ms or more) of the caller's audio, speech or silence."""

    async def begin(self) -> None:
        """The caller began to speak some 100 ms ago; an utterance starts."""

    async def finish(self) -> None:
        """The caller fell silent. Exactly one `complete` hypothesis follows each `finish`, even for noise.

        A provider that judges turns itself may keep it until the turn is over.
        """

    async def close(self) -> None:
        """The call has ended: finish with the provider. Never raises, never takes longer than a second."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one provider was used for, replays included."""

    provider: str
    model: str
    audio_s: float


class BilledTranscriber(Transcriber, Protocol):
    """A transcriber that knows what it has cost, whoever served."""

    def usage(self) -> list[Usage]:
        """For the bill."""


Open = Callable[[AgentProfile, Listener, Failure], Awaitable[Transcriber]]
"""Gets a call's recognition ready. Raises shared.stage.CannotServe with a sentence that says what to set."""
