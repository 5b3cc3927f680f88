"""The seam to a carrier: a media socket as the line sees it, whoever carries the call."""

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple, Protocol

OnAudio = Callable[[int, bytes], None]
"""Takes the caller's next frame: where it begins on the caller's timeline in ms, and its 8 kHz μ-law.

Called in the moment the frame arrives, so that no task is woken fifty times a second for each call.
"""


class Mark(NamedTuple):
    """All audio sent before the mark `name` was played, or cleared."""

    name: str


class Digit(NamedTuple):
    """The caller pressed a key."""

    digit: str


class HungUp(NamedTuple):
    """The call is over at the carrier's side."""


MediaEvent = Mark | Digit | HungUp


class Media(Protocol):
    """An open media socket. Its events end when the socket does; without HungUp the carrier may call again."""

    def events(self, on_audio: OnAudio) -> AsyncIterator[MediaEvent]:
        """What comes from the caller: frames go to `on_audio`, everything else is yielded in order."""

    async def play(self, mulaw: bytes, mark: str) -> None:
        """Append audio to what the carrier plays, and a mark behind it; does nothing once the socket is closed."""

    async def clear(self) -> None:
        """Drop what the carrier has not played yet."""

    async def close(self, reason: str) -> None:
        """Close the socket; the carrier then asks what to do with the call."""
