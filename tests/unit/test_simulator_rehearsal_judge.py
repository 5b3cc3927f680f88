"""Expectations, held against what the platform says and what the ear hears."""

from dataclasses import replace

import pytest

from shared.audio import RATE, SILENCE
from shared.messages import TranscriptCaller
from simulator.rehearsal.hearing import Hearing, Rendered
from simulator.rehearsal.judge import Scene, Sound, reasons
from simulator.rehearsal.screenplay import Expect
from tests.simulator_reply import TEXT, audio, pieces, transcript

REPLY = Rendered.of(pieces())
WHOLE = audio()
SOUND = Sound(began=99.0, ended=100.0, voiced_at=99.3)
SAID = TranscriptCaller(turn_id=1, text="What is on your menu?")


def end_of(word: str) -> int:
    return next(end for end, text in REPLY.ends if text.split()[-1:] == [word])


def hearing(*parts: bytes) -> Hearing:
    """What was heard when the reply began half a second after the caller's sound."""
    return Hearing.of(REPLY, SILENCE * (RATE // 2) + b"".join(parts), 100.0)


COMPLETE = Scene(SAID, transcript(), hearing(WHOLE), sound=SOUND)
CUT_AT = end_of("tomato")
CUT_TIME = 100.5 + CUT_AT / RATE
CUT = Scene(
    SAID,
    transcript("We start with tomato", interrupted=True),
    hearing(WHOLE[:CUT_AT], SILENCE * RATE),
    clears=(CUT_TIME,),
    sound=Sound(CUT_TIME - 0.4, CUT_TIME + 1, CUT_TIME - 0.1),
)
RESUMED = replace(
    COMPLETE, hearing=hearing(WHOLE[:CUT_AT], SILENCE * RATE, WHOLE[end_of("with") :]), clears=(CUT_TIME,)
)


def expect(**keys: object) -> Expect:
    return Expect.model_validate(keys)


@pytest.mark.parametrize(
    ("keys", "scene"),
    [
        ({"said": "what is on your menu"}, COMPLETE),
        ({"said": ["something", "what is on your menu"]}, COMPLETE),
        ({"heard": TEXT, "interrupted": False}, COMPLETE),
        ({"heard": {"starts": "we start with"}}, COMPLETE),
        ({"heard": {"contains": "tomato soup"}}, COMPLETE),
        ({"within_ms": 510, "after_ms": 490}, COMPLETE),
        ({"heard": {"starts": "We start"}, "interrupted": True, "stops_within_ms": 101}, CUT),
        ({"heard": TEXT, "resumes": True, "interrupted": False}, RESUMED),
        ({"silent": True}, Scene()),
        ({"ended": "agent_hung_up"}, Scene(ended="agent_hung_up", line_ended="the agent hung up")),
    ],
)
def test_what_is_as_expected_gives_no_reason(keys: dict[str, object], scene: Scene) -> None:
    assert reasons(expect(**keys), scene) == []


@pytest.mark.parametrize(
    ("keys", "scene", "reason"),
    [
        ({"said": "goodbye"}, COMPLETE, "'What is on your menu?' was understood, not 'goodbye'"),
        ({"said": ["a", "b"]}, Scene(), "nothing was understood, not 'a' or 'b'"),
        ({"heard": "hello"}, Scene(), "the agent said nothing"),
        ({"heard": "hello"}, COMPLETE, "was heard, not 'hello'"),
        ({"heard": {"starts": "start with"}}, COMPLETE, "nothing that starts with 'start with'"),
        ({"heard": {"contains": "mato soup"}}, COMPLETE, "nothing that contains 'mato soup'"),
        ({"interrupted": True}, COMPLETE, "was not interrupted"),
        ({"interrupted": False}, CUT, "was interrupted"),
        ({"within_ms": 400}, COMPLETE, "the reply came after 500 ms, not within 400"),
        ({"after_ms": 700}, COMPLETE, "the reply came after 500 ms, not after 700"),
        ({"within_ms": 400}, replace(COMPLETE, sound=None), "no sound that times could be counted from"),
        ({"stops_within_ms": 60}, CUT, "the agent was stopped after 100 ms, not within 60"),
        ({"stops_within_ms": 60}, COMPLETE, "the agent was not stopped"),
        ({"resumes": True}, COMPLETE, "the reply never paused"),
        ({"resumes": True}, CUT, "did not go on after it paused"),
        ({"silent": True}, Scene(audible_at=101.0), "the agent was heard"),
        ({"ended": "agent_hung_up"}, Scene(), "the call goes on"),
        ({"ended": "agent_hung_up"}, Scene(ended="carrier_lost", line_ended="x"), "ended with carrier_lost, not agent"),
        ({"ended": "agent_hung_up"}, Scene(ended="agent_hung_up"), "but the line is still open"),
    ],
)
def test_what_is_not_as_expected_says_why(keys: dict[str, object], scene: Scene, reason: str) -> None:
    assert any(reason in found for found in reasons(expect(**keys), scene))


@pytest.mark.parametrize(
    ("scene", "reason"),
    [
        (replace(CUT, reply=transcript("We start with tomato soup or", interrupted=True)), "6 words were heard"),
        (replace(CUT, reply=transcript("We start", interrupted=True)), "2 words were heard, the carrier played 4.0"),
        (replace(CUT, reply=transcript("We stop", interrupted=True)), "but the voice said 'we start with"),
        (replace(CUT, clears=()), "but the carrier went on with it"),
        (replace(COMPLETE, hearing=CUT.hearing), "not played to its end, only 4.0 of 9 words"),
        (replace(COMPLETE, hearing=hearing()), "nothing was heard of the reply"),
        (
            replace(COMPLETE, hearing=hearing(WHOLE[:CUT_AT], SILENCE * RATE, WHOLE[end_of("a") :])),
            "of the reply were never played",
        ),
    ],
)
def test_words_that_the_ear_did_not_hear_fail_every_expectation_of_a_reply(scene: Scene, reason: str) -> None:
    assert any(reason in found for found in reasons(expect(heard={"starts": "We"}), scene))


def test_one_word_more_or_less_is_the_same_moment() -> None:
    for text in ("We start with", "We start with tomato", "We start with tomato soup"):
        assert reasons(expect(interrupted=True), replace(CUT, reply=transcript(text, interrupted=True))) == []


def test_words_said_again_where_the_reply_went_on_are_wrong() -> None:
    twice = replace(RESUMED, hearing=hearing(WHOLE[:CUT_AT], SILENCE * RATE, WHOLE))
    assert reasons(expect(resumes=True), twice) == ["4 words were said again where the reply went on"]


def test_an_agent_with_words_of_its_own_must_only_say_something() -> None:
    assert reasons(expect(heard="hello"), COMPLETE, any_answer=True) == []
    assert reasons(expect(heard="hello"), Scene(), any_answer=True) == ["the agent said nothing"]
