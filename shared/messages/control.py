"""What the dialogue orders the line and the voice to do, and the keys the caller presses."""

from typing import Literal

from shared.messages.base import Message


class Control(Message):
    """An order of the dialogue.

    `pause`: the carrier falls silent, the rest of the reply `generation` is kept.
    `resume`: that reply goes on at the word where it stopped.
    `clear`: everything older than `generation` is dropped at once, audio at the carrier too.
    `hangup`: the call ends when the reply `generation` was heard; a later `clear` takes it back.
    """

    suffix = "control"
    sender = ("llm",)
    receiver = "gateway, tts"

    action: Literal["pause", "resume", "clear", "hangup"]
    generation: int


class Digit(Message):
    """The caller pressed a key (DTMF)."""

    suffix = "digit"
    sender = ("gateway",)
    receiver = "llm"

    digit: str
    number: int = 0
    """Counts the keys of the call from 1; a key that comes again after a takeover has the number it had."""
