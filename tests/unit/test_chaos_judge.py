"""The judgement on one answer, with an ear that hears what the test says."""

from collections.abc import Sequence

import pytest

from shared.audio import SILENCE
from shared.espeak import speak, trim
from simulator.chaos.judge import Answer, Count, LineVerdict, by_spectrogram, judge, judge_echo
from simulator.verdict import Expected

ANSWER = "Order one two three four has left, it comes soon."
ASKS = ("Are you still there?", "Could you say it again?")
FIRST, SECOND = b"first clause, long", b"second"
EXPECTED = Expected(ANSWER, sounds=(FIRST, SECOND))


def ear(**times: int) -> Count:
    """An ear that hears the clauses so often."""
    return lambda clip, audio: times["first" if clip == FIRST else "second"]


def verdict(
    words: str | Sequence[str], first: int = 1, second: int = 1, *, audible: bool = True, hit: bool = False
) -> LineVerdict:
    heard = words.split() if isinstance(words, str) else words
    answer = Answer(heard, b"audio", audible)
    return judge(EXPECTED, answer, ASKS, hit=hit, count=ear(first=first, second=second))


RIGHT = "order one two three four has left it comes soon"


def test_the_right_answer_heard_once_is_right() -> None:
    assert verdict(RIGHT) == LineVerdict("right")


def test_a_few_words_that_are_said_again_where_a_reply_went_on_are_right_but_counted() -> None:
    found = verdict("order one two three three four has left it comes soon", hit=True)
    assert (found.outcome, found.repeated) == ("right", 1)


def test_words_that_were_never_heard_are_lost() -> None:
    found = verdict("order one two three", first=0, second=0, hit=True)
    assert (found.outcome, found.lost) == ("cut", 6)
    assert "four has left it comes soon" in found.reason


def test_a_clause_that_the_ear_knows_was_heard_whatever_was_published() -> None:
    assert verdict("order one two three four has left", second=1).outcome == "right"
    assert verdict("order one two three four has left", second=0, hit=True).lost == 3


def test_an_answer_of_another_call_is_wrong() -> None:
    found = verdict("order nine five seven zero has left it comes soon")
    assert found.outcome == "wrong"
    assert "nine five seven zero" in found.reason


def test_stale_words_before_the_right_answer_are_wrong() -> None:
    assert verdict(f"we are open until eleven {RIGHT}").outcome == "wrong"


def test_an_answer_that_sounds_otherwise_than_it_claims_is_wrong_unless_it_was_put_together() -> None:
    assert verdict(RIGHT, first=0).outcome == "wrong"
    assert verdict(RIGHT, first=0, hit=True).outcome == "right"


def test_the_same_answer_again_is_twice() -> None:
    assert verdict(f"{RIGHT} {RIGHT}").outcome == "twice"


def test_the_same_sound_again_is_twice_though_nothing_tells_of_it() -> None:
    assert verdict(RIGHT, first=2).outcome == "twice"
    # A short clause may be a part of another one.
    assert verdict(RIGHT, second=2).outcome == "right"


@pytest.mark.parametrize("words", ["could you say it again", "are you still there", f"{RIGHT} are you still there"])
def test_a_question_to_say_it_again_is_neither_right_nor_wrong(words: str) -> None:
    assert verdict(words).outcome == "asked"


def test_nothing_at_all_is_no_answer() -> None:
    found = verdict("", audible=False)
    assert (found.outcome, found.lost) == ("unanswered", 10)


def test_an_apology_of_the_gateway_is_no_answer() -> None:
    assert verdict("", first=0, second=0).outcome == "unanswered"


SAID = trim(speak("where is my order one three five seven").mulaw)
WORDS = 8


def test_an_echo_is_right_when_every_sample_comes_back() -> None:
    assert judge_echo(SAID, WORDS, SILENCE * 3000 + SAID + SILENCE * 3000) == LineVerdict("right")


def test_an_echo_with_a_pause_in_it_is_right() -> None:
    middle = len(SAID) // 2
    assert judge_echo(SAID, WORDS, SAID[:middle] + SILENCE * 8000 + SAID[middle:]).outcome == "right"


def test_an_echo_that_lacks_a_part_has_lost_its_words() -> None:
    found = judge_echo(SAID, WORDS, SAID[: len(SAID) // 2])
    assert found.outcome == "cut"
    assert found.lost == pytest.approx(WORDS / 2, abs=1)


def test_an_echo_that_comes_twice_is_twice() -> None:
    assert judge_echo(SAID, WORDS, SAID + SILENCE * 800 + SAID).outcome == "twice"


def test_another_sound_is_no_echo() -> None:
    other = trim(speak("please hold the line").mulaw)
    assert judge_echo(SAID, WORDS, other).outcome == "unanswered"


def test_the_ear_counts_how_often_a_sentence_is_heard() -> None:
    said, other = trim(speak("Your table is booked.").mulaw), trim(speak("We are open until eleven.").mulaw)
    assert by_spectrogram(said, SILENCE * 900 + said + SILENCE * 900) == 1
    assert by_spectrogram(said, said + SILENCE * 900 + other + said) == 2
    assert by_spectrogram(said, other + SILENCE * 900) == 0
