"""Replies cut into pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.llm.clauses import Clauses


def cut(*deltas: str, cap: int = 4000) -> list[str]:
    clauses = Clauses(cap)
    pieces = [piece for delta in deltas for piece in clauses.feed(delta)]
    return pieces + clauses.flush()


def test_the_first_piece_is_the_first_clause_and_the_rest_goes_by_sentence() -> None:
    text = "With pleasure, a table for four, then. For which day, and at what time? Tell me."
    assert cut(*text) == [
        "With pleasure, a table for four, ",
        "then. ",
        "For which day, and at what time? ",
        "Tell me.",
    ]


def test_a_piece_comes_as_soon_as_white_space_follows_its_end() -> None:
    clauses = Clauses(4000)
    assert clauses.feed("You find us behind the market hall,") == []
    assert clauses.feed(" ") == ["You find us behind the market hall, "]
    assert clauses.feed("at number twelve.") == []
    assert clauses.feed(" Ring") == ["at number twelve. "]


def test_a_first_clause_that_is_too_short_waits_for_the_next_end() -> None:
    assert cut("Yes. Of course. We are open today. Come in.") == ["Yes. Of course. We are open today. ", "Come in."]


@pytest.mark.parametrize(
    "sentence",
    [
        "We open again at 7.30 in the evening on Sunday.",
        "It costs 12,50 or 1,000.75 for the whole table.",
        "Ask for Dr. Miller or for Mrs. Jones at the bar.",
        "We have soups, e.g. tomato, and pasta every day.",
        "We close at 11 p.m. on every day of the week.",
        "The U.S. team of J. R. Smith has its table there.",
        "Call us at 7:30 or write to info@bella.example now.",
        "1. Take the bus to Harbour Street and walk.",
    ],
)
def test_numbers_and_abbreviations_do_not_end_a_sentence(sentence: str) -> None:
    opening = "This is the first sentence of the reply. "
    assert cut(opening + sentence + " Goodbye.") == [opening, sentence + " ", "Goodbye."]


@pytest.mark.parametrize("end", [".", "!", "?", "...", "?!", '."', ".)", "…", ".”"])
def test_a_sentence_may_end_in_many_ways(end: str) -> None:
    opening = "This is the first sentence of the reply. "
    assert cut(opening + "And this one" + end + " Goodbye.") == [opening, "And this one" + end + " ", "Goodbye."]


def test_a_reply_that_is_too_long_ends_at_its_last_sentence() -> None:
    clauses = Clauses(70)
    pieces = clauses.feed("We are open from noon until eleven. Every day of the week. And")
    assert not clauses.full
    pieces += clauses.feed(" on Sundays we bake our own bread")
    assert clauses.full
    assert pieces == ["We are open from noon until eleven. ", "Every day of the week. "]
    assert clauses.feed(" as well.") == []
    assert clauses.flush() == []


def test_a_sentence_that_is_too_long_by_itself_ends_at_its_last_word() -> None:
    assert cut("We are open from noon until eleven at night every day", cap=33) == ["We are open from noon until "]
    assert cut("We are open from noon until eleven at night every day", cap=34) == [
        "We are open from noon until eleven"
    ]


def test_a_sentence_whose_first_clause_is_spoken_already_goes_on_to_its_last_word() -> None:
    text = "If you come by car this evening, please park behind the old market hall."
    assert cut(*text, cap=50) == ["If you come by car this evening, ", "please park "]


def test_the_last_of_several_short_sentences_that_fit_ends_the_reply() -> None:
    assert cut("Yes. We do. And we have much more to say", cap=20) == ["Yes. We do. "]


def test_a_reply_of_exactly_the_longest_length_is_whole() -> None:
    clauses = Clauses(20)
    assert clauses.feed("Twenty letters here.") == []
    assert not clauses.full
    assert clauses.flush() == ["Twenty letters here."]


PROSE = st.lists(
    st.sampled_from(
        ["hello", "Dr.", "7.30", "yes", ",", ".", "?", "!", ";", " ", "  ", "\n", "e.g.", '"', "no.", "好。"]
    )
    | st.text(max_size=6),
    max_size=60,
)


@given(PROSE)
def test_the_pieces_are_the_text(deltas: list[str]) -> None:
    pieces = cut(*deltas)
    assert "".join(pieces) == "".join(deltas)
    assert all(pieces)


@given(PROSE, st.integers(min_value=1, max_value=80))
def test_no_more_than_the_cap_is_said_and_all_of_it_was_written(deltas: list[str], cap: int) -> None:
    text = "".join(deltas)
    said = "".join(cut(*deltas, cap=cap))
    assert len(said) <= cap
    assert text.startswith(said)
    if len(text) <= cap:
        assert said == text


@given(PROSE, st.integers(min_value=1, max_value=80))
def test_how_the_model_splits_its_text_does_not_matter_for_what_is_said(deltas: list[str], cap: int) -> None:
    whole = "".join(cut("".join(deltas), cap=cap))
    assert "".join(cut(*"".join(deltas), cap=cap)).strip() == whole.strip()
