"""What happened in a call: kept in the JetStream stream `CALLS`."""

from typing import Literal

from shared.messages.base import Message


class CallStarted(Message):
    """The media stream of a call is open."""

    suffix = "event.started"
    sender = ("gateway",)
    receiver = "CALLS, all stages"

    gateway: str
    """The gateway that owns the line."""
    caller: str
    dialled: str
    agent: str


class LeaseChanged(Message):
    """A stage's lease on the call was granted, given back, or lost with its worker."""

    suffix = "event.lease"
    sender = ("gateway",)
    receiver = "CALLS, all stages"

    leased: str
    """The stage."""
    worker: str
    lease_epoch: int
    state: Literal["granted", "released", "lost"]


class TurnCompleted(Message):
    """One turn of the conversation and where its time went.

    All spans in milliseconds. Together they are the total: from the caller's last speech sample to the first
    sample of the reply that the caller could hear.
    """

    suffix = "event.turn"
    sender = ("llm",)
    receiver = "CALLS"

    turn_id: int
    generation: int
    utterances: tuple[int, ...] = ()
    """The `utterance` of the speech messages that made the turn."""
    speculated: bool = False
    """The reply was prepared before the turn was over."""
    endpointing_ms: float
    """Last speech sample → end of the deliberate wait for more speech."""
    stt_ms: float
    """What the final transcript took beyond that wait."""
    llm_first_token_ms: float
    """Committed turn → first text of the model."""
    first_clause_ms: float
    """First text → first clause sent to tts."""
    tts_first_audio_ms: float
    """First clause at tts → first audio published by tts."""
    gateway_ms: float
    """First audio at the gateway → handed to the carrier."""
    bus_ms: float
    """What the messages between these took on their way."""
    line_ms: float
    """Handed to the carrier → first sample that can be heard, as its first mark tells."""
    total_ms: float


class UsageCounted(Message):
    """What a provider was used for: seconds, tokens or characters, for the bill."""

    suffix = "event.usage"
    sender = ("stt", "llm", "tts", "speech")
    receiver = "CALLS"

    provider: str
    model: str
    amounts: dict[str, float]
    """By unit: `audio_s`, `input_tokens`, `output_tokens`, `characters`; with `estimated_` before the unit of
    a reply that was cut short, whose cost the provider does not tell."""


class ErrorHappened(Message):
    """Something failed; `fatal` when the stage cannot go on with the call."""

    suffix = "event.error"
    sender = ("stt", "llm", "tts", "speech", "gateway")
    receiver = "CALLS, gateway"

    error: str
    fatal: bool


class CallEnded(Message):
    """The call is over; every stage lets go of it."""

    suffix = "event.ended"
    sender = ("gateway",)
    receiver = "CALLS, all stages"

    reason: str
    """`caller_hung_up`, `agent_hung_up`, `stage_missing`, `stage_lost`, `stage_failed`, `carrier_lost`, …"""
    duration_ms: int
