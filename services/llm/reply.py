"""One reply on its way to tts."""

from collections.abc import Callable

from services.llm.record import Spoken
from services.llm.remainder import Diverged, Remainder, behind
from shared.messages import Message, ReplyEnd, ReplyOnLine, ReplyText


class Reply:
    """Numbers the pieces of a reply and sends them."""

    def __init__(self, spoken: Spoken, send: Callable[[Message], None]) -> None:
        """`spoken` is kept up to date: what it holds was sent."""
        self.spoken = spoken
        self._send = send
        self._wanted = Remainder("")
        """Lets through what the line does not have yet."""

    @property
    def generation(self) -> int:
        return self.spoken.generation

    @property
    def said(self) -> str:
        """All that was said of it, on whatever line."""
        return f"{self.spoken.before} {self.spoken.text}".lstrip()

    def say(self, text: str) -> None:
        """Speak the next piece; white space alone is no piece."""
        if text.strip():
            self.spoken.pieces.append(text)
            try:
                text = self._wanted.of(text)
            except Diverged:
                self._wanted = Remainder("")
            if text.strip():
                self._send(self._piece(len(self.spoken.pieces) - 1, text))

    def end(self) -> None:
        """Nothing more to say."""
        self.spoken.ended = True
        self._send(self._end())

    @property
    def heard_out(self) -> bool:
        """Whether the caller has heard all that there is to say."""
        return self.spoken.ended and self._unheard == []

    @property
    def _unheard(self) -> list[tuple[int, str]] | None:
        return behind(self.spoken.pieces, self.spoken.heard)

    def again(self, line: ReplyOnLine) -> list[Message]:
        """What tts has to hear again: all that is behind the words whose audio the line has."""
        spoken = self.spoken
        if line.generation != spoken.generation:
            line = ReplyOnLine()
        # The worker before may have sent more than it has saved: then the line wants nothing of what comes next.
        self._wanted = Remainder(line.received)
        try:
            left: list[tuple[int, str]] | None = [(n, self._wanted.of(piece)) for n, piece in enumerate(spoken.pieces)]
        except Diverged:
            self._wanted = Remainder("")
            left = behind(spoken.pieces, line.heard)
        if line.complete or line.over:
            return []
        messages: list[Message] = [self._piece(number, text) for number, text in self._or_all(left) if text.strip()]
        return [*messages, self._end()] if spoken.ended else messages

    def move(self, spoken: Spoken) -> None:
        """Say on another line, as the reply `spoken`, what the caller has not heard; what is still written follows."""
        before, left = self.spoken, self._unheard
        spoken.before = f"{before.before} {before.heard}".strip() if left is not None else before.before
        left = self._or_all(left)
        self.spoken, self._wanted = spoken, Remainder("")
        for _, text in left:
            self.say(text)
        if before.ended:
            self.end()

    def _or_all(self, left: list[tuple[int, str]] | None) -> list[tuple[int, str]]:
        """`left`; where it is not known, twice is better than never."""
        return list(enumerate(self.spoken.pieces)) if left is None else left

    def _piece(self, number: int, text: str) -> ReplyText:
        spoken = self.spoken
        return ReplyText(generation=spoken.generation, turn_id=spoken.turn_id, sequence=number, text=text)

    def _end(self) -> ReplyEnd:
        spoken = self.spoken
        return ReplyEnd(generation=spoken.generation, turn_id=spoken.turn_id, pieces=len(spoken.pieces))
