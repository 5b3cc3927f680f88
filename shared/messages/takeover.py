"""A stage of a live call was leased again: what the others tell the worker that took it."""

from pydantic import BaseModel, ConfigDict

from shared.messages.base import Message


class ReplyOnLine(BaseModel):
    """The newest reply as the line knows it."""

    model_config = ConfigDict(frozen=True)

    generation: int = 0
    """0: nothing was ever said on this line."""
    turn_id: int = 0
    started: bool = False
    """Some of it was handed to the carrier."""
    paused: bool = False
    complete: bool = False
    """Its last piece has come from tts."""
    over: bool = False
    """It was heard to its end, or cleared: no more of it will be heard."""
    heard_ms: int = 0
    heard: str = ""
    """The words that the caller has heard."""
    received: str = ""
    """The words whose audio the line has: `heard` is their beginning. What follows them is to be spoken yet."""


class StageTaken(Message):
    """Another worker, or the same one anew, has the stage `leased` of a live call.

    Sent once for each lease of an open line but the first, after the worker has subscribed. stt tells a new llm
    again what it heard since `since`; llm takes up `reply` when it is new itself, and sends a new tts the text
    behind `reply.received`; the gateway sends a new stt the caller's audio again.
    """

    suffix = "takeover"
    sender = ("gateway",)
    receiver = "stt, llm, tts"

    leased: str
    """The stage."""
    worker: str
    lease_epoch: int
    since: float
    """Unix time in seconds until which the worker before surely did its work; what it was sent later may be lost."""
    reply: ReplyOnLine
