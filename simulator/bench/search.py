"""Finds the highest level that is good: grows by steps, then halves the distance. Pure."""

from collections.abc import Mapping

STEP = 50
GRAIN = 10
MOST = 500


def next_level(tried: Mapping[int, bool], step: int = STEP, grain: int = GRAIN, most: int = MOST) -> int | None:
    """The level to try next after those in `tried` (level: whether it was good); None: the search is over.

    All levels are multiples of `grain`, as `step` must be.
    """
    good = highest(tried)
    bad = min((level for level, fine in tried.items() if not fine and level > good), default=None)
    if bad is None:
        return good + step if good + step <= most else None
    middle = max((good + bad) // 2 // grain * grain, good + grain)
    return middle if middle < bad else None


def highest(tried: Mapping[int, bool]) -> int:
    """The highest good level; 0: none was."""
    return max((level for level, fine in tried.items() if fine), default=0)
