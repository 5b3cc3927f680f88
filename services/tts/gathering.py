"""Puts the pieces of a reply together into messages while the caller has enough to hear: each message costs a mark."""

from typing import NamedTuple

from services.tts.provider import Piece
from shared.audio import RATE, bytes_of
from shared.messages.audio import Spoken, WordEnd

_LONGEST = bytes_of(800)
_ENOUGH = bytes_of(500)
"""A message that is so long waits for no more words."""
_AHEAD_S = 0.6
"""With so much to hear the caller does not notice that words wait for others."""
_LEAST_S = 0.3
"""Words do not wait any longer when the caller has no more to hear: they have a way to go."""


class Message(NamedTuple):
    """Pieces that travel together."""

    mulaw: bytes
    text: str
    """Spoken, if they are several."""
    last: bool


class Gathering:
    """The pieces of one reply. Pure; `now` is in seconds on any clock."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._held: list[Piece] = []
        self._bytes = 0
        self._silent_at = 0.0
        """When the caller has heard all that was sent, if nothing is late."""

    @property
    def due_at(self) -> float | None:
        """When what is held back must leave; None if nothing is."""
        return self._silent_at - _LEAST_S if self._held else None

    def add(self, piece: Piece, now: float) -> list[Message]:
        """What is to be sent now that `piece` has come."""
        ready, size = [], len(piece.mulaw)
        if self._held and self._bytes + size > _LONGEST:
            ready.append(self.release(now))
        self._held.append(piece)
        self._bytes += size
        if piece.last or self._bytes >= _ENOUGH or self._silent_at - now < _AHEAD_S:
            ready.append(self.release(now))
        return ready

    def release(self, now: float) -> Message:
        """All that is held back, to be sent now."""
        held, self._held, self._bytes = self._held, [], 0
        message = _joined(held)
        self._silent_at = max(self._silent_at, now) + len(message.mulaw) / RATE
        return message


def _joined(pieces: list[Piece]) -> Message:
    if len(pieces) == 1:
        return Message(pieces[0].mulaw, pieces[0].text, pieces[0].last)
    words, end = [], 0
    for piece in pieces:
        end += len(piece.mulaw)
        words.append(WordEnd(end, piece.text))
    return Message(b"".join([piece.mulaw for piece in pieces]), Spoken(words), pieces[-1].last)
