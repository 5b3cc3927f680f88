"""When an agent takes its turn and when it gives it up: the profile's `turns`, also as it changes during a call."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BargeInProfile(_Part):
    """What stops the agent while it speaks: a sound pauses it, words confirm the interruption."""

    enabled: bool = True
    """Off: the caller's words wait until the reply is over."""
    min_speech_ms: int = Field(default=250, ge=64, le=5000)
    """So much of the caller's voice pauses the reply."""
    min_words: int = Field(default=2, ge=1, le=20)
    """So many words confirm the interruption."""
    confirm_ms: int = Field(default=500, ge=64, le=10000)
    """Or speech of this length, with at least one word."""
    resume_ms: int = Field(default=1200, ge=100, le=10000)
    """A pause that nothing confirmed ends after so long, and the reply goes on at the word where it stopped."""
    stop_words: tuple[str, ...] = ("stop", "wait", "no", "hold on", "excuse me")
    """Each of them confirms at once."""
    backchannels: tuple[str, ...] = (
        "uh-huh", "uh huh", "mhm", "mm-hmm", "hm", "hmm", "mm", "ah", "oh", "okay", "ok", "yeah", "yes", "yep",
        "right", "sure", "i see", "got it", "alright", "all right",
    )  # fmt: skip
    """What a listener says to show that he listens: never an interruption."""
    protect_greeting: bool = False
    """The greeting is spoken to its end."""

    def length_after(self, ms: int) -> int | None:
        """The next length of the caller's voice, in ms, that means something once it has lasted `ms`."""
        return min((length for length in (self.min_speech_ms, self.confirm_ms) if length > ms), default=None)


class SilenceProfile(_Part):
    """What the agent does when the caller says nothing."""

    reprompt_s: float = Field(default=8.0, ge=0, le=600)
    """Silence before each reprompt and before the goodbye; 0: the agent waits for ever."""
    reprompts: tuple[str, ...] = ("Are you still there?", "I am still here. How can I help you?")
    goodbye: str = "I cannot hear you, so I will hang up now. Goodbye!"
    """Said before hanging up; empty: the call ends without a word."""


class DigitsProfile(_Part):
    """How pressed keys become a turn."""

    terminator: str = Field(default="#", max_length=1)
    """The key that ends the input, not part of it; empty: none does."""
    timeout_ms: int = Field(default=3000, ge=200, le=60000)
    """Or so long without another key."""
    max_digits: int = Field(default=32, ge=1, le=200)
    """Or so many keys."""


class HoldProfile(_Part):
    """How machines at the caller's end are known."""

    phrases: tuple[str, ...] = (
        "please hold", "stay on the line", "remain on the line", "your call is important", "all of our agents are",
        "will be with you shortly",
    )  # fmt: skip
    """The caller was put on hold: the agent keeps quiet until somebody speaks again."""
    voicemail: tuple[str, ...] = (
        "leave a message", "leave your message", "record your message", "after the tone", "after the beep",
        "is not available to take your call",
    )  # fmt: skip
    """A machine answers: the agent hangs up."""
    max_s: float = Field(default=120.0, ge=1, le=3600)
    """On hold for longer than this, the agent hangs up."""


class TurnProfile(_Part):
    """When the agent takes its turn."""

    endpointing_ms: int = Field(default=500, ge=100, le=5000)
    """Silence after the caller's last speech sample that ends the caller's turn."""
    patience_ms: int = Field(default=1200, ge=100, le=10000)
    """The same after a sentence that is not finished: a trailing "and", "um", a comma, half a number."""
    final_timeout_ms: int = Field(default=1500, ge=100, le=10000)
    """How long after the silence the turn waits for the provider's last transcript."""
    max_turn_s: float = Field(default=45.0, ge=1, le=600)
    """A turn is answered after so long, although the caller has not stopped."""
    speculation: bool = True
    """The reply is prepared at a likely end of the turn; nothing of it is heard before the turn is over."""
    barge_in: BargeInProfile = BargeInProfile()
    silence: SilenceProfile = SilenceProfile()
    digits: DigitsProfile = DigitsProfile()
    hold: HoldProfile = HoldProfile()

    def changed(self, changes: Mapping[str, Any]) -> "TurnProfile":
        """This profile with `changes`, nested as the profile is. Raises pydantic.ValidationError."""
        return TurnProfile.model_validate(_merged(self.model_dump(), changes))


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in changes.items():
        before = merged.get(key)
        merged[key] = _merged(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return merged
