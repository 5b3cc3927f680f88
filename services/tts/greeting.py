"""One call's greeting: played from a recording, or spoken before anybody asks for it and recorded then."""

from collections.abc import Sequence
from typing import Literal

from services.tts.cutting import Cut
from services.tts.provider import Piece
from shared.messages import Message, ReplyText

GENERATION = 0
"""The voice knows the greeting by this number: it is spoken before the dialogue, whose replies count from 1, asks."""


class Greeting:
    """The pieces of the greeting, as far as they are known. Pure."""

    def __init__(self, text: str) -> None:
        """`text` is the greeting of the agent's profile."""
        self.text = text
        self.pieces: list[Piece] = []
        self.state: Literal["waiting", "speaking", "complete", "dropped"] = "waiting" if text.strip() else "dropped"
        """`waiting`: for the recording, if there is one; `dropped`: nothing can come from here."""

    def is_asked_by(self, message: Message) -> bool:
        """Whether `message` wants the whole greeting said, and it can come from here."""
        return (
            isinstance(message, ReplyText)
            and (message.turn_id, message.sequence, message.text) == (0, 0, self.text)
            and self.state != "dropped"
        )

    def found(self, recording: Sequence[Cut]) -> None:
        """It was spoken before; too late if the voice speaks it already."""
        if self.state in ("waiting", "dropped"):
            *first, last = (Piece(GENERATION, cut.mulaw, cut.text) for cut in recording)
            self.pieces = [*first, Piece(GENERATION, last.mulaw, last.text, last=True)]
            self.state = "complete"

    def begin(self) -> None:
        """The voice was told to speak it."""
        self.state = "speaking"

    def add(self, piece: Piece) -> bool:
        """The voice has said `piece`; returns whether the greeting is complete with it."""
        if self.state != "speaking":
            return False
        self.pieces.append(piece)
        if piece.last:
            self.state = "complete"
        return piece.last

    def drop(self) -> None:
        """The voice speaks something else; what is complete can still be played."""
        if self.state != "complete":
            self.state, self.pieces = "dropped", []

    @property
    def recording(self) -> tuple[Cut, ...]:
        """What to keep of it."""
        return tuple(Cut(piece.mulaw, piece.text) for piece in self.pieces)
