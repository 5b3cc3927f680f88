"""One reply on its way to tts."""

from collections.abc import Callable

from shared.messages import Message, ReplyEnd, ReplyText


class Reply:
    """Numbers the pieces of a reply and sends them."""

    def __init__(self, generation: int, turn_id: int, send: Callable[[Message], None]) -> None:
        """`turn_id` is the caller's turn that it answers, 0 for the greeting."""
        self.generation = generation
        self.turn_id = turn_id
        self.pieces = 0
        self._send = send

    def say(self, text: str) -> None:
        """Speak the next piece; white space alone is no piece."""
        if text.strip():
            message = ReplyText(generation=self.generation, turn_id=self.turn_id, sequence=self.pieces, text=text)
            self._send(message)
            self.pieces += 1

    def end(self) -> None:
        """Nothing more to say."""
        self._send(ReplyEnd(generation=self.generation, turn_id=self.turn_id, pieces=self.pieces))
