"""What callers of the benchmark say, and how the words of an answer are compared."""

import pytest

from services.llm.wording import is_unfinished
from shared.scenario import load
from simulator import telegraph
from simulator.bench.hearing import is_over, words_of, wrong
from simulator.bench.script import MOST_CALLS, Script, clips, scripts

BELLA = load("bella")


@pytest.fixture(scope="module")
def written() -> list[Script]:
    return scripts(BELLA, 6, seed=1)


def test_no_two_calls_have_the_same_order_number(written: list[Script]) -> None:
    assert len({script.lines[0].said for script in written}) == len(written)
    with pytest.raises(ValueError, match="larger"):
        scripts(BELLA, MOST_CALLS + 1, seed=1)


def test_every_answer_is_known_and_stays_the_same_when_the_lines_come_again(written: list[Script]) -> None:
    fallback = " ".join(words_of(telegraph.read(telegraph.speak(BELLA.fallback).mulaw)))
    for script in written:
        said = [line.said for line in script.lines]
        for place, line in enumerate(script.lines):
            again = BELLA.respond([*said, *said[: place + 1]])
            assert not wrong(words_of(telegraph.read(telegraph.speak(again).mulaw)), line.words)
            assert " ".join(line.words) != fallback


def test_an_order_number_is_told_again(written: list[Script]) -> None:
    for script in written:
        digits = tuple(script.lines[0].said.split()[-4:])
        recall = next(line for line in script.lines if line.said == "what was my order number")
        assert recall.words[4:8] == digits


def test_a_quarter_of_the_lines_is_said_over_an_answer(written: list[Script]) -> None:
    lines = written[0].lines
    assert sum(line.over for line in lines) * 4 == len(lines)
    before = [lines[place - 1] for place, line in enumerate(lines) if line.over]
    assert all(len(line.words) > 30 and not line.over for line in before)


def test_no_line_makes_the_agent_wait_for_its_end(written: list[Script]) -> None:
    assert not [line.said for script in written for line in script.lines if is_unfinished(line.said)]


def test_every_sound_is_taught(written: list[Script]) -> None:
    taught = clips(written)
    assert all(taught[line.said] == line.mulaw for script in written for line in script.lines)
    assert all(taught.values())


def test_words_are_read_from_the_sound() -> None:
    text = "Done. Your table for 4 is booked, o'clock!"
    heard = words_of(telegraph.read(telegraph.speak(text).mulaw))
    assert " ".join(heard) == "done your table for four is booked o'clock"


@pytest.mark.parametrize(
    ("heard", "reason"),
    [
        ("a table for four", ""),
        ("a table for five", "word 4: heard “five”, not “four”"),
        ("a table", "word 3: heard “”, not “for four”"),
        ("a table for four again", "word 5: heard “again”, not “”"),
        ("", "no word was heard"),
    ],
)
def test_one_other_word_is_wrong(heard: str, reason: str) -> None:
    assert wrong(heard.split(), ("a", "table", "for", "four")) == reason


@pytest.mark.parametrize(
    ("heard", "right"), [("a", True), ("a table", True), ("a chair", False), ("", False), ("a table for two x", False)]
)
def test_an_interrupted_answer_must_begin_right(heard: str, right: bool) -> None:
    assert (not wrong(heard.split(), ("a", "table", "for", "two"), interrupted=True)) == right


def test_an_answer_is_over_with_its_last_word() -> None:
    expected = ("no", "not", "no")
    assert not is_over(("no",), expected)
    assert not is_over(("no", "not", "so"), expected)
    assert is_over(("no", "not", "no"), expected)
    assert is_over(("well", "no", "not", "no"), expected)
