"""How long a caller heard nothing while it was the agent's turn. Pure; times in seconds of any clock."""

from collections.abc import Iterator, Sequence

Span = tuple[float, float]


def gaps(start: float, until: float, stretches: Sequence[Span], *, complete: bool) -> Iterator[Span]:
    """The silences from `start` on, between the `stretches` that could be heard, in their order.

    `complete`: the answer is over with the last stretch; else the caller went on waiting for the rest `until` he
    gave up.
    """
    cursor = start
    for begin, end in stretches:
        if begin > cursor:
            yield cursor, begin
        cursor = max(cursor, end)
    if not complete and until > cursor:
        yield cursor, until


def longest_ms(silences: Sequence[Span], since: float) -> float:
    """The length of the longest one that was not over at `since`, all of it; 0 when there is none."""
    return max(((end - begin) * 1000 for begin, end in silences if end > since), default=0.0)
