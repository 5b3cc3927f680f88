"""Which of several providers is asked next, and after what wait. Pure."""

from collections.abc import Iterator

_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 5.0


def backoff_s(step: int, chance: float) -> float:
    """How long to wait before another try, in seconds: nothing before the first, then up to 0.2, 0.4, … 5.

    `chance`, from 0 to 1, spreads the calls that lost the same provider at the same moment.
    """
    return 0.0 if step <= 0 else float(chance * min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (step - 1)))


class Rotation:
    """The ordered choices of a call: how often each failed since one of them last did what it was asked."""

    def __init__(self, count: int) -> None:
        """There are `count` of them, numbered from 0 in the order of preference."""
        self._failures = [0] * count
        self._refused = [False] * count
        self._lost: int | None = None

    def answered(self) -> None:
        """The one that was opened last did what it was asked."""
        self._failures = [0] * len(self._failures)
        self._lost = None

    def lost(self, index: int, *, silent: bool = False) -> None:
        """It served and is gone; its first loss is forgiven: it is asked again before the others.

        Not so when it fell silent: most likely it would not answer now either, and a caller waits.
        """
        if self._failures[index] == 0 and not silent:
            self._lost = index
        self._failures[index] += 1

    def failed(self, index: int) -> None:
        """It could not be opened."""
        self._failures[index] += 1

    def refused(self, index: int) -> None:
        """It will never serve this call."""
        self._refused[index] = True

    def order(self) -> Iterator[tuple[int, int]]:
        """(how many tries it has behind it, index), the best choice first; none when all have refused."""
        steps = [(count - (index == self._lost), index) for index, count in enumerate(self._failures)]
        yield from sorted(
            ((step, index) for step, index in steps if not self._refused[index]),
            key=lambda choice: (choice[0], choice[1] != self._lost, choice[1]),
        )
