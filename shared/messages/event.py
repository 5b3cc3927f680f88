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

    All spans in milliseconds, one after the other from the caller's last speech sample to the
    first audio handed to the carrier.
    """

    suffix = "event.turn"
    sender = ("llm",)
    receiver = "CALLS"

    turn_id: int
    generation: int
    endpointing_ms: float
    """Last speech sample → stt said `stopped`, and the deliberate wait for more speech."""
    stt_ms: float
    """What the final transcript took beyond that wait."""
    llm_first_token_ms: float
    """Committed turn → first text of the model."""
    first_clause_ms: float
    """First text → first clause sent to tts."""
    tts_first_audio_ms: float
    """First clause sent → first audio published by tts."""
    gateway_ms: float
    """First audio published → handed to the carrier."""
    total_ms: float


class UsageCounted(Message):
    """What a provider was used for: seconds, tokens or characters, for the bill."""

    suffix = "event.usage"
    sender = ("stt", "llm", "tts", "speech")
    receiver = "CALLS"

    provider: str
    model: str
    amounts: dict[str, float]
    """By unit: `audio_s`, `input_tokens`, `output_tokens`, `characters`."""


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
