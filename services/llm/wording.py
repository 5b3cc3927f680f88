"""What the words of a caller tell about whose turn it is. Pure, English."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_MARKER = re.compile(r"\[[^\]]*\]")
"""What a recogniser writes for sounds: `[unintelligible]`."""
_TRAILING = frozenset(("and", "or", "but", "so", "because", "if", "um", "uh", "the", "a", "an", "my", "to", "like"))
"""A sentence that ends so goes on."""
_DIGITS = frozenset(("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "oh"))
_NUMBER_GOES_ON = frozenset(("point", "dash", "double", "triple", "hundred", "thousand"))
_SHORTEST_NUMBER = 4
"""Digits said one by one: codes, order and telephone numbers have at least so many."""
_ECHO_WORDS = 4
"""Fewer words of the agent's may be the caller's answer."""
_ECHO_LIKENESS = 0.8


@lru_cache(maxsize=1024)
def words(text: str) -> tuple[str, ...]:
    """The words of `text` in lower case, without punctuation; what stands for a sound is none."""
    return tuple(word.replace("’", "'").lower() for word in _WORD.findall(_MARKER.sub(" ", text)))


def is_sound(text: str) -> bool:
    """Whether `text` stands for a sound that was not understood."""
    return bool(_MARKER.search(text)) and not words(text)


def has_content(text: str) -> bool:
    """Whether `text` says that the caller said anything."""
    return bool(words(text)) or is_sound(text)


@lru_cache(maxsize=256)
def _spoken(phrases: tuple[str, ...]) -> list[str]:
    """The phrases as they are compared, the longest first, with a blank on both sides."""
    return sorted({f" {' '.join(words(phrase))} " for phrase in phrases if words(phrase)}, key=len, reverse=True)


def contains(text: str, phrases: tuple[str, ...]) -> bool:
    """Whether one of `phrases` occurs in `text`, as whole words."""
    said = f" {' '.join(words(text))} "
    return any(phrase in said for phrase in _spoken(phrases))


def consists_of(text: str, phrases: tuple[str, ...]) -> bool:
    """Whether `text` is nothing but `phrases`, one or several of them."""
    left = said = f" {' '.join(words(text))} "
    for phrase in _spoken(phrases):
        while phrase in left:
            left = left.replace(phrase, " ")
    return bool(said.strip()) and not left.strip()


def _is_digit(word: str) -> bool:
    return word in _DIGITS or (len(word) == 1 and word.isdecimal())


@lru_cache(maxsize=1024)
def is_unfinished(text: str) -> bool:
    """Whether the sentence probably goes on: a trailing "and" or "um", a comma, a number with too few digits."""
    if text.rstrip().endswith((",", "-", "…", "...")):
        return True
    said = words(text)
    if not said or text.rstrip().endswith((".", "?", "!")):
        return False
    if said[-1] in _TRAILING or said[-1] in _NUMBER_GOES_ON:
        return True
    digits = 0
    while digits < len(said) and _is_digit(said[-1 - digits]):
        digits += 1
    return 1 < digits < _SHORTEST_NUMBER


def is_echo(text: str, agent: Sequence[str]) -> bool:
    """Whether `text` is a stretch of what the agent said, its words `agent`, as far as a recogniser gets echo right."""
    said = words(text)
    return len(said) >= _ECHO_WORDS and bool(agent) and _comes_back(said, tuple(agent))


@lru_cache(maxsize=256)
def _comes_back(said: tuple[str, ...], agent: tuple[str, ...]) -> bool:
    blocks = SequenceMatcher(None, agent, said, autojunk=False).get_matching_blocks()
    found = [block for block in blocks if block.size > 1]
    if not found:
        return False
    # Words strewn over a long reply are no echo.
    spread = found[-1].a + found[-1].size - found[0].a
    return sum(block.size for block in found) >= _ECHO_LIKENESS * len(said) and spread <= 2 * len(said)
