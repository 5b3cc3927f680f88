"""Where a reply that was asked for anew goes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.llm.provider import ChatMessage
from services.llm.seam import Seam, told_to_continue


def through(seam: Seam, *bits: str) -> str:
    return "".join(map(seam.feed, bits)) + seam.end()


@pytest.mark.parametrize(
    ("said", "anew", "rest"),
    [
        ("", "We open at nine.", "We open at nine."),
        ("We open", "We open at nine.", " at nine."),
        ("We open ", "We open at nine.", "at nine."),
        ("We op", "We open at nine.", "en at nine."),
        ("Well, we open", "well we OPEN at nine.", " at nine."),
        ("We open. ", "We open. And we close.", "And we close."),
        ("We open.", "We open. And we close.", " And we close."),
        ("We open", "We open. And we close.", ". And we close."),
        ("We open.", "We open, and we close.", " and we close."),
        ("We open! ", "We open - always.", "always."),
        ("We open at nine.", "We open at nine.", ""),
        ("We open at nine", "We open at nine.", "."),
        ("We open at nine.", "We open", ""),
        ("We open at nine.", "", ""),
        ("Мы открыты", "Мы открыты с девяти.", " с девяти."),
        ("… ", "… Yes.", "… Yes."),
    ],
)
def test_only_what_follows_is_let_through(said: str, anew: str, rest: str) -> None:
    for bits in ((anew,), tuple(anew)):
        seam = Seam(said)
        assert through(seam, *bits) == rest
        assert not seam.differs


@pytest.mark.parametrize(
    ("said", "anew"), [("We open", "Our hours"), ("We open at nine", "We open at ten."), ("We open ", "We opened.")]
)
def test_another_reply_cannot_be_joined(said: str, anew: str) -> None:
    seam = Seam(said)
    assert through(seam, *anew) == ""
    assert seam.differs


@pytest.mark.parametrize(
    ("said", "anew", "rest"),
    [
        ("We open", " at nine.", " at nine."),
        ("We open", "at nine.", " at nine."),
        ("We open ", "at nine.", "at nine."),
        ("We open", ", at nine.", ", at nine."),
        ("We open", "We open at nine.", " at nine."),
        ("We open at", "we", " we"),
    ],
)
def test_a_continuation_is_let_through_unless_it_says_all_again(said: str, anew: str, rest: str) -> None:
    for bits in ((anew,), tuple(anew)):
        assert through(Seam(said, continues=True), *bits) == rest


@given(st.text("aB é.,!?9 "), st.integers(0, 30), st.lists(st.integers(1, 5)))
def test_a_reply_cut_anywhere_and_said_again_is_whole(reply: str, cut: int, sizes: list[int]) -> None:
    said, bits, rest = reply[:cut], [], reply
    for size in sizes:
        bits.append(rest[:size])
        rest = rest[size:]
    seam = Seam(said)
    joined = said + through(seam, *bits, rest)
    assert not seam.differs
    assert [c for c in joined if c.isalnum()] == [c for c in reply if c.isalnum()]


def test_a_model_is_told_what_was_said_and_to_go_on() -> None:
    prompt = [ChatMessage(role="system", content="You are Bella."), ChatMessage(role="user", content="Hello?")]
    *before, said, order = told_to_continue(prompt, "We op")
    assert before == prompt
    assert said == ChatMessage(role="assistant", content="We op")
    assert order.role == "system"
    assert "Continue exactly where it stops" in order.content
