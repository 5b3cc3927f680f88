"""Which words of a reply a stretch of its audio says, from the provider's character times."""

from collections import deque
from collections.abc import Sequence
from itertools import compress
from operator import add, gt

CHARS_PER_S = 15.0
"""What English speech says in a second, about: used where the provider gives no times."""


class Captions:
    """The text of one reply, handed out word by word as its audio passes by.

    Characters are found in the text by their order, not by their white space: providers add and drop it,
    split words between messages, and may tell the same stretch twice. What cannot be found is estimated;
    nothing is lost, because `rest` gives whatever is left.
    """

    def __init__(self, chars_per_s: float = CHARS_PER_S) -> None:
        """`chars_per_s` serves the estimate."""
        self._chars_per_s = chars_per_s
        self._text = ""
        self._given = 0
        self._chars = ""
        """The text without its white space."""
        self._places: list[int] = []
        """The index in the text after each of them."""
        self._found = 0
        """So many of them."""
        self._marks: deque[tuple[int, int]] = deque()
        """(where a character ends in ms, index after it), not yet passed."""
        self._passed = (0, 0)
        self._pass_began_ms = 0
        self._aligned_ms = 0
        self._estimating = True

    def add(self, text: str) -> None:
        """`text` is the next that will be said."""
        self._places += [index for index, char in enumerate(text, len(self._text) + 1) if not char.isspace()]
        self._chars += "".join(text.split())
        self._text += text

    def align(self, chars: Sequence[str], starts_ms: Sequence[int], durations_ms: Sequence[int]) -> None:
        """The provider's times for its next stretch of audio.

        They count from where the stretch before it ended, or from some earlier point: characters follow each other
        without a gap, so the time at which the first begins tells.
        """
        ends = list(map(add, starts_ms, durations_ms))
        spoken_ends = [end for group, end in zip(chars, ends, strict=False) for char in group if not char.isspace()]
        told_again = self._told_again("".join("".join(chars[: len(ends)]).split()))
        self._estimating = told_again is None
        first_ms = next(compress(starts_ms, map(gt, ends, starts_ms)), 0)
        base = self._pass_began_ms if told_again else max(0, self._aligned_ms - first_ms)
        if told_again is not None:
            found = self._found
            self._found += len(spoken_ends) - told_again
            places = self._places[found : self._found]
            self._marks += [(base + end, place) for end, place in zip(spoken_ends[told_again:], places, strict=True)]
        self._pass_began_ms = base
        self._aligned_ms = max(self._aligned_ms, base + max(ends, default=0))

    def _told_again(self, spoken: str) -> int | None:
        """How many characters of `spoken` were found before; None if it is not what comes next in the text."""
        chars, found = self._chars, self._found
        if chars.startswith(spoken, found):
            return 0
        for count in range(min(found, len(spoken)), 0, -1):
            if chars.startswith(spoken, found - count):
                return count
        return None

    @property
    def estimating(self) -> bool:
        """The provider told no times, or none that fit the text."""
        return self._estimating

    def word_ends(self) -> list[int]:
        """Where the words that `until` has not passed yet are over, as far as their times are known, in ms."""
        text, length = self._text, len(self._text)
        return [end_ms for end_ms, index in self._marks if index == length or text[index].isspace()]

    def all_said(self, ms: float) -> bool:
        """Whether all of the text so far is over at `ms`."""
        return self._found == len(self._places) and all(end_ms <= ms for end_ms, _ in self._marks)

    def until(self, ms: float) -> str:
        """The words said up to `ms` of the reply's audio that were not given yet, with their white space."""
        while self._marks and self._marks[0][0] <= ms:
            self._passed = self._marks.popleft()
        passed_ms, index = self._passed
        if self._estimating:
            index += int((ms - passed_ms) * self._chars_per_s / 1000)
        return self._give(self._word_end(index))

    def rest(self) -> str:
        """Whatever was not given yet."""
        return self._give(len(self._text))

    def _word_end(self, index: int) -> int:
        """The end of the last whole word before `index`, its white space included."""
        text, length = self._text, len(self._text)
        while index < length and text[index].isspace():
            index += 1
        while 0 < index < length and not text[index - 1].isspace():
            index -= 1
        return min(index, length)

    def _give(self, index: int) -> str:
        given, self._given = self._given, max(self._given, index)
        return self._text[given : self._given]
