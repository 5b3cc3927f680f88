"""A reply cut into what tts speaks: the first clause as soon as it is there, then sentence by sentence. Pure."""

import re

_FIRST_CHARS = 20
"""A shorter first piece sounds chopped and hardly starts earlier."""
_CLOSING = r"[\"'’”»)\]]*"
_SENTENCE_END = re.compile(rf"[.!?…؟।]+{_CLOSING}\s+|[。！？]+[」』”]*\s*")
_SENTENCE_MARK = re.compile("[.!?…؟।。！？]")
"""Without one of these no sentence ends."""
_CLAUSE_END = re.compile(rf"[,;:،؛]+{_CLOSING}\s+")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'])(?:(?:[^\W\d_]\.)*[^\W\d_]"  # initials, e.g., i.e., a.m., U.S.
    r"|dr|mr|mrs|ms|prof|st|jr|sr|vs|approx|etc|no|nr|tel|ext|fig|dept|inc|ltd|bzw|ca|evtl|str)$",
    re.IGNORECASE,
)
_LIST_NUMBER = re.compile(r"(?:^|\n)\s*\d+$")


def _sentence_ends(text: str) -> list[tuple[int, bool]]:
    """Where a sentence ends in `text`, its trailing white space included; True: a sentence does."""
    if not _SENTENCE_MARK.search(text):
        return []
    return [(match.end(), True) for match in _SENTENCE_END.finditer(text) if not _abbreviates(text, match)]


def _clause_ends(text: str) -> list[tuple[int, bool]]:
    """Where a clause ends within a sentence."""
    return [(match.end(), False) for match in _CLAUSE_END.finditer(text)]


def _abbreviates(text: str, end: re.Match[str]) -> bool:
    """Whether the full stop belongs to an abbreviation or to a number in a list."""
    before = text[: end.start()]
    alone = end[0].rstrip() == "."
    return alone and bool(_ABBREVIATION.search(before) or _LIST_NUMBER.search(before))


class Clauses:
    """One reply on its way to tts. The pieces' concatenation is the text, or as much of it as `max_chars` allows."""

    def __init__(self, max_chars: int) -> None:
        """The reply ends at the last sentence within `max_chars`, else at the last word."""
        self.full = False
        """The reply is over: whatever the model still says is not wanted."""
        self._left = max_chars
        self._text = ""
        self._first = True
        self._within_sentence = True
        """The text so far does not end with a sentence."""

    def feed(self, delta: str) -> list[str]:
        """The pieces that `delta` completes."""
        if self.full:
            return []
        self._text += delta
        pieces: list[str] = []
        while (boundary := self._next()) is not None:
            pieces.append(self._take(*boundary))
        if len(self._text.rstrip()) > self._left:
            self.full = True
            pieces.append(self._last())
        return [piece for piece in pieces if piece]

    def flush(self) -> list[str]:
        """The model has nothing more to say: the rest."""
        rest = "" if self.full else self._take(len(self._text), True)
        return [rest] if rest else []

    def _fits(self, end: int) -> bool:
        return len(self._text) <= self._left or len(self._text[:end].rstrip()) <= self._left

    def _next(self) -> tuple[int, bool] | None:
        """Where the next piece ends: the first one as soon as it is long enough, the others with their sentence."""
        found = _sentence_ends(self._text)
        if self._first:
            found = [end for end in sorted(found + _clause_ends(self._text)) if end[0] > _FIRST_CHARS]
        return next((end for end in found if self._fits(end[0])), None)

    def _take(self, end: int, sentence: bool) -> str:
        # White space at the very end may be cut off: nobody hears it.
        piece, self._text = self._text[: min(end, self._left)], self._text[end:]
        self._left -= len(piece)
        self._first, self._within_sentence = False, not sentence
        return piece

    def _last(self) -> str:
        """What may still be said of a text that is too long."""
        sentences = [end for end, _ in _sentence_ends(self._text) if self._fits(end)]
        if sentences:
            return self._take(sentences[-1], True)
        if not self._within_sentence:
            return ""
        head, behind = self._text[: self._left], self._text[self._left]
        words = head if behind.isspace() else head[: len(head) - len(re.split(r"\s", head)[-1])]
        # A single word longer than the whole reply may be is cut.
        return words if words.strip() or not self._first else head
