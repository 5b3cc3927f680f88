"""What the caller has heard: the gateway's playback clock."""

from typing import Literal

from shared.messages.base import Message


class Playback(Message):
    """The playback of a reply moved on.

    `started`: the first audio was handed to the carrier. `playing`: a mark came back. `finished`:
    the caller heard the reply to its end. `cleared`: the rest will never be heard.
    """

    suffix = "playback"
    sender = ("gateway",)
    receiver = "llm"

    generation: int
    state: Literal["started", "playing", "finished", "cleared"]
    heard_ms: int
    """How much of the reply the caller has heard, as the carrier's marks tell."""
    heard: str
    """The words for those milliseconds."""
    synthesized_at: float = 0.0
    """`started` only: Unix time in seconds at which tts published the first audio."""
