"""What of a text is still to be said when its beginning was said already. Pure; compares letters and digits only."""

from collections.abc import Sequence


class Diverged(Exception):
    """The text does not begin with the words that were said."""


class Remainder:
    """Lets the rest of a text through, which comes in pieces of whole words."""

    def __init__(self, said: str) -> None:
        """`said` is the beginning of the text; case, punctuation and white space may differ."""
        self._said = [char.lower() for char in said if char.isalnum()]
        self._at = 0

    @property
    def reached(self) -> bool:
        """Whether all that was said has come by."""
        return self._at == len(self._said)

    def of(self, piece: str) -> str:
        """The part of the next `piece` that was not said yet. Raises Diverged."""
        if self.reached:
            return piece
        begin = 0
        for offset, char in enumerate(piece):
            if not char.isalnum():
                continue
            if self.reached:
                if begin == offset and _one_word(piece[offset - 1], char):
                    raise Diverged
                return piece[max(begin, _word_begin(piece, offset)) :]
            if char.lower() != self._said[self._at]:
                raise Diverged
            self._at += 1
            begin = offset + 1
        return ""


def _word_begin(piece: str, offset: int) -> int:
    """Where the word around `offset` begins, what is written before its first letter included."""
    while offset and not piece[offset - 1].isspace():
        offset -= 1
    return offset


def _one_word(before: str, char: str) -> bool:
    """Whether two letters that touch belong to one word; scripts without capitals write words without blanks."""
    return all(letter.isdigit() or letter.lower() != letter.upper() for letter in (before, char))


def behind(pieces: Sequence[str], said: str) -> list[tuple[int, str]] | None:
    """What of `pieces` follows `said`, with the pieces' numbers; None when they do not begin with it."""
    remainder = Remainder(said)
    try:
        left = [(number, remainder.of(piece)) for number, piece in enumerate(pieces)]
    except Diverged:
        return None
    return [(number, text) for number, text in left if text.strip()] if remainder.reached else None
