"""What is still to be said of a text whose beginning was said."""

import pytest

from services.llm.remainder import Diverged, Remainder, behind

PIECES = ["We are open from noon, ", "until eleven. ", "Every day."]


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("", list(enumerate(PIECES))),
        ("We are", [(0, "open from noon, "), (1, "until eleven. "), (2, "Every day.")]),
        ("we  are open\nfrom NOON", [(1, "until eleven. "), (2, "Every day.")]),
        ("We are open from noon, until", [(1, "eleven. "), (2, "Every day.")]),
        ("We are open from noon, until eleven. Every day.", []),
        ("We are closed", None),
        ("We are open from noon, until eleven. Every day. And more", None),
        ("We are op", None),
    ],
)
def test_what_follows_the_words_that_were_said(said: str, left: list[tuple[int, str]] | None) -> None:
    assert behind(PIECES, said) == left


@pytest.mark.parametrize(
    ("text", "said", "left"),
    [
        ("Well (so to speak)", "well", "(so to speak)"),
        ("noon—and later", "noon", "—and later"),
        ("我们中午开门", "我们", "中午开门"),
        ("It costs 12.50 euros", "It costs", "12.50 euros"),
    ],
)
def test_the_rest_begins_with_a_whole_word(text: str, said: str, left: str) -> None:
    assert Remainder(said).of(text) == left


def test_a_longer_word_is_another_word() -> None:
    with pytest.raises(Diverged):
        Remainder("We have no").of("We have none left.")
