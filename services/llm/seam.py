"""Where a reply that was asked for anew goes on behind the words that were said of it already."""

from collections.abc import Sequence

from services.llm.provider import ChatMessage

_CONTINUE = (
    "Your reply above was cut off and the caller has heard it. Continue exactly where it stops, in the middle of the "
    "sentence if need be. Repeat nothing of it, and do not mention the interruption."
)


class Seam:
    """Lets through what follows the words already said. Letters and digits count, case and punctuation do not."""

    def __init__(self, said: str, *, continues: bool = False) -> None:
        """`continues`: the text is asked to be what follows, so it is let through as well when it begins otherwise."""
        self.differs = False
        """The text does not begin with what was said: it cannot be joined to it."""
        self._continues = continues
        self._left = "".join(map(_folded, said))
        """Of what was said, still to come."""
        self._tail = said[len(_without_tail(said)) :]
        """Punctuation and spaces that were said last."""
        self._open = said != "" and not said[-1].isspace()
        self._buffer = ""
        self._read = 0
        self._joined = not self._left

    def feed(self, text: str) -> str:
        """What can be said of the words so far, with `text` at their end."""
        if self._joined or self.differs:
            return "" if self.differs else text
        self._buffer += text
        while self._left and self._read < len(self._buffer):
            folded = _folded(self._buffer[self._read])
            if not self._left.startswith(folded):
                return self._other()
            self._left = self._left[len(folded) :]
            self._read += 1
        return "" if self._left else self._join(ended=False)

    def end(self) -> str:
        """What can be said in addition now that no more text comes."""
        if self._joined or self.differs:
            return ""
        if not self._left:
            return self._join(ended=True)
        # A reply shorter than what was said has nothing more to say.
        return self._other() if self._continues else ""

    def _other(self) -> str:
        """The text is another than what was said."""
        if not self._continues:
            self.differs = True
            return ""
        self._joined = True
        return " " + self._buffer if self._open and self._buffer[:1].isalnum() else self._buffer

    def _join(self, *, ended: bool) -> str:
        rest = self._buffer[self._read :]
        words = rest.lstrip("".join(c for c in set(rest) if not _folded(c)))
        if self._tail and not (words or ended):
            # It may be more of the punctuation that was said.
            return ""
        gap = rest[: len(rest) - len(words)]
        if self._tail and words and not gap:
            # A whole word was said, and this is the beginning of a longer one.
            return self._other()
        self._joined = True
        if gap.startswith(self._tail):
            return rest[len(self._tail) :]
        return (" " if gap[-1:].isspace() and self._open else "") + words


def told_to_continue(messages: Sequence[ChatMessage], said: str) -> list[ChatMessage]:
    """`messages` for a model that shall go on behind `said`, which it began to answer."""
    return [
        *messages,
        ChatMessage(role="assistant", content=said),
        ChatMessage(role="system", content=_CONTINUE),
    ]


def _folded(character: str) -> str:
    return character.casefold() if character.isalnum() else ""


def _without_tail(text: str) -> str:
    end = len(text)
    while end and not _folded(text[end - 1]):
        end -= 1
    return text[:end]
