"""The little language of scenario phrases: words, `[optional]`, `(one | another)`, `{slot}`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

_TOKEN = re.compile(r"\{(\w+)\}|[\[\]()|]|[^\s\[\]()|{}]+")
_SPACE = re.compile(r"\s+")
_NOT_SPOKEN = re.compile(r"[^a-z0-9' ]+")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_DIGIT = re.compile(r"(?<!\S)\d(?!\S)")


class PhraseError(ValueError):
    """A phrase is not well formed."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word."""

    text: str


@dataclass(frozen=True, slots=True)
class Slot:
    """A place that one of the slot's values fills."""

    name: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several sequences; `optional` allows none of them."""

    options: "tuple[Sequence_, ...]"
    optional: bool


Node = Word | Slot | Choice
Sequence_ = tuple[Node, ...]
Slots = Mapping[str, Sequence[str]]
"""The spoken values of each slot."""


def normalize(text: str) -> str:
    """`text` as it is matched: lower case, no punctuation, single spaces, a digit that stands alone as its word."""
    spoken = _SPACE.sub(" ", _NOT_SPOKEN.sub(" ", text.lower())).strip()
    return _DIGIT.sub(lambda digit: DIGITS[int(digit[0])], spoken)


def parse(phrase: str) -> Sequence_:
    """The phrase as a tree. Raises PhraseError."""
    tokens = [match[0] for match in _TOKEN.finditer(phrase)]
    if "".join(tokens) != "".join(phrase.split()):
        raise PhraseError(f"{phrase!r}: a brace that is not part of a {{slot}}")
    nodes, rest = _sequence(tokens)
    if rest:
        raise PhraseError(f"{phrase!r}: {rest[0]!r} without its opening")
    if not nodes:
        raise PhraseError("a phrase is empty")
    return nodes


def _sequence(tokens: list[str]) -> tuple[Sequence_, list[str]]:
    nodes: list[Node] = []
    while tokens and tokens[0] not in ("]", ")", "|"):
        token, tokens = tokens[0], tokens[1:]
        if token in ("[", "("):
            choice, tokens = _choice(tokens, optional=token == "[")
            nodes.append(choice)
        elif token.startswith("{"):
            nodes.append(Slot(token[1:-1]))
        else:
            nodes.append(_word(token))
    return tuple(nodes), tokens


def _word(token: str) -> Word:
    word = token.lower()
    if normalize(word) != word:
        raise PhraseError(f"{token!r} can never be heard: words are made of a-z, 0-9 and ', a digit is a word")
    return Word(word)


def _choice(tokens: list[str], *, optional: bool) -> tuple[Choice, list[str]]:
    options: list[Sequence_] = []
    while True:
        option, tokens = _sequence(tokens)
        options.append(option)
        if not tokens:
            raise PhraseError("a bracket is not closed")
        closing, tokens = tokens[0], tokens[1:]
        if closing == "|":
            continue
        if closing != ("]" if optional else ")"):
            raise PhraseError(f"{closing!r} closes the wrong bracket")
        return Choice(tuple(options), optional), tokens


def to_regex(nodes: Sequence_, slots: Slots, groups: list[str]) -> str:
    """A regular expression over `normalize`d text plus one space; `groups` collects its slots in order."""
    parts: list[str] = []
    for node in nodes:
        if isinstance(node, Word):
            parts.append(re.escape(node.text) + " ")
        elif isinstance(node, Slot):
            groups.append(node.name)
            parts.append("(" + "|".join(re.escape(value) + " " for value in slots[node.name]) + ")")
        else:
            options = "|".join(to_regex(option, slots, groups) for option in node.options)
            parts.append(f"(?:{options}){'?' if node.optional else ''}")
    return "".join(parts)


def to_jsgf(nodes: Sequence_) -> str:
    """The phrase as the right side of a JSGF rule; a slot becomes `<slot>`.

    Source: JSpeech Grammar Format, W3C Note, 5 June 2000.
    """
    parts: list[str] = []
    for node in nodes:
        if isinstance(node, Word):
            parts.append(node.text)
        elif isinstance(node, Slot):
            parts.append(f"<{node.name}>")
        else:
            options = " | ".join(to_jsgf(option) for option in node.options)
            parts.append(f"[ {options} ]" if node.optional else f"( {options} )")
    return " ".join(parts)


def expand(nodes: Sequence_, slots: Slots) -> Iterator[str]:
    """Every sentence that the phrase covers."""
    choices: list[list[str]] = []
    for node in nodes:
        if isinstance(node, Word):
            choices.append([node.text])
        elif isinstance(node, Slot):
            choices.append(list(slots[node.name]))
        else:
            options = [sentence for option in node.options for sentence in expand(option, slots)]
            choices.append([*options, *([""] if node.optional else [])])
    for sentence in product(*choices):
        yield " ".join(part for part in sentence if part)
