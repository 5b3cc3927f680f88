"""The language of scenario phrases."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.phrases import PhraseError, expand, normalize, parse, to_jsgf, to_regex

SLOTS = {"party": ("two", "three"), "day": ("friday", "new year's day")}


def matches(phrase: str, spoken: str) -> tuple[str, ...] | None:
    """The slot values heard in `spoken`, or None when the phrase does not cover it."""
    match = re.fullmatch(to_regex(parse(phrase), SLOTS, []), normalize(spoken) + " ")
    return None if match is None else tuple(value.strip() for value in match.groups() if value)


@pytest.mark.parametrize(
    ("said", "matched"),
    [
        ("What are your hours?", "what are your hours"),
        ("  At EIGHT o'clock -- please!", "at eight o'clock please"),
        ("Table 4", "table four"),
        ("keys 4 7 1 1.", "keys four seven one one"),
        ("Order 4711, at 10, table b2", "order 4711 at 10 table b2"),
        ("?!", ""),
    ],
)
def test_punctuation_and_case_do_not_matter(said: str, matched: str) -> None:
    assert normalize(said) == matched


@pytest.mark.parametrize(
    ("phrase", "spoken", "heard"),
    [
        ("when are you open", "When are you open?", ()),
        ("when are you open", "when are you opening", None),
        ("open [today]", "open", ()),
        ("open [today]", "open today", ()),
        ("(on | for) {day}", "for Friday", ("friday",)),
        ("(on | for) {day}", "on new year's day", ("new year's day",)),
        ("(on | for) {day}", "friday", None),
        ("a table [for {party} [people]]", "a table", ()),
        ("a table [for {party} [people]]", "a table for two people", ("two",)),
        ("a table [for {party} [people]]", "a table people", None),
        ("{party} {party}", "two three", ("two", "three")),
    ],
)
def test_what_a_phrase_covers(phrase: str, spoken: str, heard: tuple[str, ...] | None) -> None:
    assert matches(phrase, spoken) == heard


def test_every_sentence_of_a_phrase_can_be_listed() -> None:
    nodes = parse("(book | reserve) [a table] for {party}")
    assert sorted(expand(nodes, SLOTS)) == [
        "book a table for three",
        "book a table for two",
        "book for three",
        "book for two",
        "reserve a table for three",
        "reserve a table for two",
        "reserve for three",
        "reserve for two",
    ]


def test_a_phrase_becomes_a_grammar_rule() -> None:
    rule = to_jsgf(parse("(on | for) {day} [at eight] please"))
    assert rule == "( on | for ) <day> [ at eight ] please"


@pytest.mark.parametrize(
    ("phrase", "why"),
    [
        ("", "empty"),
        ("open [today", "not closed"),
        ("open today]", "without its opening"),
        ("(on | for", "not closed"),
        ("(on | for]", "wrong bracket"),
        ("for {party", "brace"),
        ("for {two words}", "brace"),
        ("a café", "never be heard"),
        ("open?", "never be heard"),
        ("table 4", "a digit is a word"),
    ],
)
def test_a_phrase_that_is_not_well_formed_says_why(phrase: str, why: str) -> None:
    with pytest.raises(PhraseError, match=why):
        parse(phrase)


WORDS = st.sampled_from(["hello", "there", "o'clock", "{party}", "{day}"])
PHRASES = st.recursive(
    WORDS,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(" ".join)
        | st.lists(inner, min_size=1, max_size=3).map(lambda options: f"({' | '.join(options)})")
        | inner.map(lambda option: f"[{option}]")
    ),
    max_leaves=5,
)


@given(PHRASES)
def test_a_phrase_covers_every_sentence_that_it_expands_to(phrase: str) -> None:
    sentences = list(expand(parse(phrase), SLOTS))
    assert sentences
    assert all(matches(phrase, sentence) is not None for sentence in sentences if sentence)
