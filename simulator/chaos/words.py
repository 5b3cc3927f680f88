"""Words in order: which of those expected are there, and what else is. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sequences of words, laid side by side."""

    found: int
    """Words of the expected that are there, in their order."""
    missing: tuple[int, ...]
    """The places of those that are not."""
    more: tuple[str, ...]
    """What is there besides, in its order."""


def compare(expected: Sequence[str], there: Sequence[str]) -> Comparison:
    """The best alignment: the longest common subsequence."""
    rows, columns = len(expected), len(there)
    lengths = [[0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows - 1, -1, -1):
        for j in range(columns - 1, -1, -1):
            if expected[i] == there[j]:
                lengths[i][j] = lengths[i + 1][j + 1] + 1
            else:
                lengths[i][j] = max(lengths[i + 1][j], lengths[i][j + 1])
    missing, more, i, j = [], [], 0, 0
    while i < rows and j < columns:
        if expected[i] == there[j]:
            i, j = i + 1, j + 1
        elif lengths[i + 1][j] >= lengths[i][j + 1]:
            missing.append(i)
            i += 1
        else:
            more.append(there[j])
            j += 1
    missing.extend(range(i, rows))
    more.extend(there[j:])
    return Comparison(lengths[0][0], tuple(missing), tuple(more))


def contains(words: Sequence[str], phrase: Sequence[str]) -> bool:
    """Whether `phrase` occurs in `words` without a break."""
    length = len(phrase)
    return bool(length) and any(list(words[at : at + length]) == list(phrase) for at in range(len(words) - length + 1))
