"""The words of an answer, read from what the carrier played, and whether they are the right ones. Pure."""

from collections.abc import Callable, Sequence

from shared.phrases import normalize
from simulator.telegraph import Telegram

Reader = Callable[[bytes], list[Telegram]]
"""The words in a track of 8 kHz μ-law."""

_SHOWN = 12
"""Words of a wrong answer that are told."""


def words_of(telegrams: Sequence[Telegram]) -> tuple[str, ...]:
    """The words, as `shared.phrases.normalize` writes them."""
    return tuple(normalize(" ".join(telegram.text for telegram in telegrams)).split())


def is_over(heard: Sequence[str], expected: Sequence[str]) -> bool:
    """Whether the answer has come to its last word."""
    return len(heard) >= len(expected) and tuple(heard[-1:]) == tuple(expected[-1:])


def _shown(words: Sequence[str]) -> str:
    return " ".join(words[:_SHOWN]) + (" …" if len(words) > _SHOWN else "")


def wrong(heard: Sequence[str], expected: Sequence[str], *, interrupted: bool = False) -> str:
    """What is wrong with an answer, in words; "" when nothing is.

    Of one that was interrupted the beginning must be right, and a word must have been heard.
    """
    wanted = expected[: max(1, len(heard))] if interrupted else expected
    if tuple(heard) == tuple(wanted):
        return ""
    if not heard:
        return "no word was heard"
    same = sum(1 for _ in _common(heard, wanted))
    return f"word {same + 1}: heard “{_shown(heard[same:])}”, not “{_shown(wanted[same:])}”"


def _common(heard: Sequence[str], wanted: Sequence[str]) -> list[str]:
    same = []
    for ours, theirs in zip(heard, wanted, strict=False):
        if ours != theirs:
            break
        same.append(ours)
    return same
