"""Was a turn answered right? By text and by ear, with real speech."""

from functools import cache

import pytest

from shared import scenario
from shared.agents import AgentProfile
from shared.audio import SILENCE
from shared.espeak import speak
from simulator import ear
from simulator.caller import Turn
from simulator.script import Writer
from simulator.verdict import Expected, Told, clauses, judge, rendered

BELLA = scenario.load("bella")
FOUR = "A table for four, with pleasure. For which day and at what time?"
SIX = FOUR.replace("four", "six")


@cache
def spoken(text: str) -> bytes:
    """As the offline voice speaks: sentence by sentence, with rests."""
    parts = [speak(part).mulaw for part in text.replace(". ", ".|").split("|")]
    return SILENCE * 4000 + (SILENCE * 2560).join(parts) + SILENCE * 4000


def heard(text: str) -> Turn:
    return Turn(spoken(text), 500.0)


EXPECTED = Expected(FOUR, wrong=BELLA.fallback, sounds=rendered(FOUR))


def test_the_right_answer_is_right_by_text_and_by_ear() -> None:
    verdict = judge(
        EXPECTED, heard(FOUR), Told("a table for four", "a table for four with pleasure for which day and at what time")
    )
    assert (verdict.right, verdict.reason) == (True, "")
    assert verdict.likeness is not None and verdict.likeness > ear.SAME


def test_the_right_text_with_the_wrong_sound_is_wrong() -> None:
    verdict = judge(EXPECTED, heard(SIX), Told("a table for four", FOUR))
    assert not verdict.right
    assert verdict.likeness is not None and verdict.likeness < ear.SAME
    assert "does not sound like" in verdict.reason


def test_the_ear_alone_judges_when_nobody_listens_to_the_broker() -> None:
    assert judge(EXPECTED, heard(FOUR), None).right
    assert not judge(EXPECTED, heard(SIX), None).right
    assert not judge(EXPECTED, Turn(SILENCE * 8000, 500.0), None).right


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        (Told("", ""), "the caller was not understood at all"),
        (Told("a table for four", ""), "said nothing to 'a table for four'"),
        (Told("a table for six", SIX), "understood as 'a table for six' and heard 'A table for six"),
        (Told("a table for four", FOUR.partition(".")[0]), "heard 'A table for four, with pleasure', not"),
    ],
)
def test_the_wrong_text_is_wrong_and_says_why(told: Told, complaint: str) -> None:
    verdict = judge(EXPECTED, heard(FOUR), told)
    assert not verdict.right
    assert complaint in verdict.reason


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (None, "no answer was heard"),
        (Told("", ""), "no answer was heard; understood: nothing"),
        (Told("x", FOUR), "no answer was heard; understood: 'x'"),
    ],
)
def test_a_turn_without_an_answer_is_wrong_for_that_reason(told: Told | None, reason: str) -> None:
    verdict = judge(EXPECTED, Turn(b"", None, "no answer was heard"), told)
    assert (verdict.right, verdict.reason) == (False, reason)


def test_any_answer_is_right_but_the_fallback() -> None:
    anything = Expected(wrong=BELLA.fallback)
    assert judge(anything, heard(SIX), Told("something", "Sure, why not?")).right
    verdict = judge(anything, heard(SIX), Told("something", BELLA.fallback))
    assert (verdict.right, verdict.reason) == (False, "the agent had no answer to 'something'")


def test_the_fallback_is_wrong_even_where_the_scenario_says_so() -> None:
    [line] = Writer(AgentProfile(name="bella")).said(["tell me a joke"])
    assert line.expected.text == BELLA.fallback
    verdict = judge(line.expected, heard(BELLA.fallback), Told("tell me a joke", BELLA.fallback))
    assert (verdict.right, verdict.reason) == (False, "the agent had no answer to 'tell me a joke'")


def test_an_echo_must_sound_like_what_was_said() -> None:
    [line] = Writer(AgentProfile(name="echo", pipeline="echo")).said(["what did I book"])
    echo = Turn(SILENCE * 5000 + line.mulaw + SILENCE * 3000, 300.0)
    assert judge(line.expected, echo, None).right
    assert not judge(line.expected, heard(FOUR), None).right


def test_each_order_line_expects_its_own_number() -> None:
    told, asked = Writer(AgentProfile(name="bella")).order(407)
    assert told.said == "my order number is zero four zero seven"
    assert told.expected.text.startswith("Order zero four zero seven has left")
    assert asked.expected.text == "Your order number is zero four zero seven. Is there anything else?"


@pytest.mark.parametrize("line", BELLA.script, ids=lambda line: str(line.say))
def test_every_scripted_answer_is_recognised_by_ear(line: scenario.Line) -> None:
    assert judge(Expected(line.hear, sounds=rendered(line.hear)), heard(line.hear), None).right


def test_clauses_end_at_punctuation() -> None:
    assert clauses("Yes, it's vegan. Anything else?!  …") == ["Yes,", "it's vegan.", "Anything else?!"]
