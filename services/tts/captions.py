"""Which words of a reply a stretch of its audio says, from the provider's character times."""

from collections import deque
from collections.abc import Sequence
from operator import add

CHARS_PER_S = 15.0
"""What English speech says in a second, about: used where the provider gives no times."""


def _compact(text: str) -> str:
    return "".join(text.split())


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
        self._found = 0
        self._marks: deque[tuple[int, int]] = deque()
        """(where a character ends in ms, index after it), not yet passed."""
        self._passed = (0, 0)
        self._pass_began_ms = 0
        self._aligned_ms = 0
        self._estimating = True

    def add(self, text: str) -> None:
        """`text` is the next that will be said."""
        self._text += text

    def align(self, chars: Sequence[str], starts_ms: Sequence[int], durations_ms: Sequence[int]) -> None:
        """The provider's times for its next stretch of audio.

        They count from where the stretch before it ended, or from some earlier point: characters follow each other
        without a gap, so the time at which the first begins tells.
        """
        ends = list(map(add, starts_ms, durations_ms))
        spoken = [char for group, _ in zip(chars, ends, strict=False) for char in group if not char.isspace()]
        spoken_ends = [end for group, end in zip(chars, ends, strict=False) for char in group if not char.isspace()]
        told_again = self._told_again("".join(spoken))
        self._estimating = told_again is None
        first_ms = next((start for start, end in zip(starts_ms, ends, strict=False) if end > start), 0)
        base = self._pass_began_ms if told_again else max(0, self._aligned_ms - first_ms)
        text, found = self._text, self._found
        for end_ms in spoken_ends[told_again:] if told_again is not None else ():
            while text[found].isspace():
                found += 1
            found += 1
            self._marks.append((base + end_ms, found))
        self._found = found
        self._pass_began_ms = base
        self._aligned_ms = max(self._aligned_ms, base + max(ends, default=0))

    def _told_again(self, spoken: str) -> int | None:
        """How many characters of `spoken` were found before; None if it is not what comes next in the text."""
        after = _compact(self._text[self._found :])
        if after.startswith(spoken):
            return 0
        before = _compact(self._text[: self._found])
        for count in range(min(len(before), len(spoken)), 0, -1):
            if before.endswith(spoken[:count]) and after.startswith(spoken[count:]):
                return count
        return None

    @property
    def estimating(self) -> bool:
        """The provider told no times, or none that fit the text."""
        return self._estimating

    def word_ends(self) -> list[int]:
        """Where the words that `until` has not passed yet are over, as far as their times are known, in ms."""
        return [end_ms for end_ms, index in self._marks if self._text[index : index + 1].strip() == ""]

    def all_said(self, ms: float) -> bool:
        """Whether all of the text so far is over at `ms`."""
        return not self._text[self._found :].strip() and all(end_ms <= ms for end_ms, _ in self._marks)

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
        after = self._text[index:]
        index += len(after) - len(after.lstrip())
        while 0 < index < len(self._text) and not self._text[index - 1].isspace():
            index -= 1
        return min(index, len(self._text))

    def _give(self, index: int) -> str:
        given, self._given = self._given, max(self._given, index)
        return self._text[given : self._given]
