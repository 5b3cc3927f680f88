"""What the caller has heard: the gateway's playback clock."""

from typing import Literal

from shared.messages.base import Message


class Playback(Message):
    """The playback of a reply moved on.

    `started`: the first audio was handed to the carrier. `playing`: half a second more was heard. `paused`: the
    carrier was cleared, the rest is kept. `resumed`: it goes on at the word where it stopped. `finished`: the caller
    heard the reply to its end. `cleared`: the rest will never be heard.
    """

    suffix = "playback"
    sender = ("gateway",)
    receiver = "llm, stt"

    generation: int
    turn_id: int = 0
    state: Literal["started", "playing", "paused", "resumed", "finished", "cleared"]
    heard_ms: int
    """How much of the reply the caller has heard: the carrier's marks tell, between them the time since the last."""
    heard: str
    """The words for those milliseconds; a word that was cut short is not among them."""
    asked_at: float = 0.0
    """`started` only: Unix time in seconds at which the reply's first text reached tts."""
    synthesized_at: float = 0.0
    """`started` only: when tts published the first audio."""
    received_at: float = 0.0
    """`started` only: when it reached the gateway."""
    audible_at: float = 0.0
    """Only of the first report after `started`: when the caller heard the first sample that can be heard."""
