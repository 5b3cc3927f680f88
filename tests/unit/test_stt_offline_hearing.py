"""What the offline recogniser believes of two decoders' words: transcripts, interims, coughs."""

from itertools import pairwise

import pytest

from services.stt.providers import offline_language
from services.stt.providers.offline_hearing import Interims, is_speech, judge
from shared.turn_taking import BargeInProfile

PROFILE = BargeInProfile()
LANGUAGE = offline_language.load("bella", PROFILE.stop_words, PROFILE.backchannels)
LOOK_MS = 60


@pytest.mark.parametrize(
    ("grammar", "free", "transcript"),
    [
        ("what is your address", "what is your address", "what is your address"),
        ("what is your address", "my car you goodbye", ""),
        ("what is your", "what is your address", "what is your address"),
        ("what is your", "what is your", ""),
        ("stop what is your address", "stop what is your address", "stop what is your address"),
        ("hold_on excuse_me goodbye", "hold_on excuse_me goodbye", "hold on excuse me goodbye"),
        ("no can you repeat my booking", "can you repeat my booking", "can you repeat my booking"),
        ("excuse_me", "excuse_me", "excuse me"),
        ("no wait", "no wait", "no wait"),
        ("uh-huh", "uh-huh", "uh-huh"),
        ("stop a", "uh-huh", "uh-huh"),
        ("stop", "uh-huh", "uh-huh"),
        ("yep", "yes", "yes"),
        ("", "no", "no"),
        ("no for", "no", "no"),
        ("", "", ""),
    ],
)
def test_the_grammar_is_believed_when_the_trigrams_agree(grammar: str, free: str, transcript: str) -> None:
    assert judge(LANGUAGE, grammar, free) == transcript


@pytest.mark.parametrize(
    ("grammar", "free"),
    [("stop", "_ah"), ("_mm", "_mm"), ("that", "yes"), ("", "yes"), ("for", "stop"), ("stop stop", "_ah"), ("", "_ah")],
)
def test_a_cough_is_no_interjection(grammar: str, free: str) -> None:
    assert judge(LANGUAGE, grammar, free) == ""


@pytest.mark.parametrize(
    ("free", "length_ms", "speech"),
    [("my what", 900, True), ("my what", 880, False), ("what", 2000, False), ("what _ah _mm", 2000, False)],
)
def test_only_several_words_of_some_length_are_speech(free: str, length_ms: int, speech: bool) -> None:
    assert is_speech(free, length_ms) is speech


def told(*looks: tuple[str, str]) -> list[str]:
    """What is told at each look at (grammar's words, trigrams' words)."""
    interims = Interims(LANGUAGE)
    return [interims.look(grammar, free, LOOK_MS * number) for number, (grammar, free) in enumerate(looks, 1)]


def test_a_word_is_told_when_it_stands_for_three_looks() -> None:
    assert told(("when", "when"), *[("wait", "wait")] * 3) == ["", "", "", "wait"]


def test_what_still_changes_is_not_told() -> None:
    looks = ("what are", "what are"), ("what are your", "what are"), ("what are you", "what are")
    assert told(*looks) == ["", "", "what are"]


def test_nothing_is_told_while_the_trigrams_hear_another_beginning() -> None:
    assert told(*[("that", "_ah")] * 9) == [""] * 9


def test_a_longer_beginning_may_differ_in_single_words() -> None:
    assert told(*[("do you have any", "you you have any")] * 3)[-1] == "do you have any"


@pytest.mark.parametrize("word", ["uh-huh", "_ah", "yes"])
def test_backchannels_and_noises_are_not_told_before_their_end(word: str) -> None:
    assert told(*[(word, word)] * 9) == [""] * 9


def test_interims_are_180_ms_apart_and_never_twice_the_same() -> None:
    words = ["excuse_me", "what", "are", "your", "opening", "hours"]
    growing = [(text := " ".join(words[: 1 + look // 2]), text) for look in range(14)]
    texts = told(*growing)
    at = [LOOK_MS * number for number, text in enumerate(texts, 1) if text]
    assert min(later - sooner for sooner, later in pairwise(at)) >= 180
    assert next(text for text in texts if text) == "excuse me"
    assert len(set(filter(None, texts))) == len(at)
