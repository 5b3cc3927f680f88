"""Cutting spoken text into pieces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.cutting import cut, split
from shared import espeak
from shared.audio import SILENCE, bytes_of, decode, duration_ms
from shared.espeak import Speech, SpokenWord

TEXTS = [
    "Bella Trattoria, good day! ",
    "A table for four, with pleasure. For which day and at what time?",
    "Done.",
    "half-past 9:30, e.g. $5 — “über” café. ",
    "Your order number is 123456. ",
    "  Yes ",
]


@pytest.mark.parametrize("text", TEXTS)
def test_the_pieces_say_the_text_and_nothing_else(text: str) -> None:
    assert "".join(part.text for part in cut(espeak.speak(text), text)) == text


@pytest.mark.parametrize("text", TEXTS)
def test_the_pieces_are_the_speech_without_its_trailing_silence(text: str) -> None:
    speech = espeak.speak(text)
    padded = Speech(speech.mulaw + SILENCE * 8000, speech.words)
    audio = b"".join(part.mulaw for part in cut(padded, text))
    assert speech.mulaw.startswith(audio[: len(speech.mulaw)])
    assert abs(len(audio) - len(speech.mulaw)) < bytes_of(60)


@pytest.mark.parametrize("text", TEXTS)
def test_no_piece_is_longer_than_250_ms(text: str) -> None:
    assert all(0 < duration_ms(part.mulaw) <= 250 for part in cut(espeak.speak(text), text))


def test_a_piece_ends_where_its_last_word_ends() -> None:
    text = "One two three"
    audio = b"\x00" * bytes_of(600)
    words = (SpokenWord(0, 0), SpokenWord(4, 200), SpokenWord(8, 400))
    parts = cut(Speech(audio, words), text)
    assert [(duration_ms(part.mulaw), part.text) for part in parts] == [(200, "One "), (200, "two "), (200, "three")]


def test_short_words_travel_together() -> None:
    text = "I am it"
    words = (SpokenWord(0, 0), SpokenWord(2, 60), SpokenWord(5, 120))
    parts = cut(Speech(b"\x00" * bytes_of(240), words), text)
    assert [part.text for part in parts] == ["I am it"]


def test_the_text_of_a_long_word_comes_with_its_end() -> None:
    parts = cut(Speech(b"\x00" * bytes_of(600), (SpokenWord(0, 0),)), "Vegetarian ")
    assert [part.text for part in parts] == ["", "", "Vegetarian "]


def test_a_text_without_a_sound_makes_no_piece() -> None:
    assert cut(espeak.speak("... "), "... ") == []


@given(st.binary(min_size=1, max_size=9000))
def test_splitting_keeps_every_byte(audio: bytes) -> None:
    parts = split(audio)
    assert b"".join(parts) == audio
    assert all(0 < len(part) <= bytes_of(250) for part in parts)


@given(
    st.text(alphabet="ab é.", min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3000)), max_size=8),
)
def test_whatever_the_engine_says_of_words_the_text_stays_whole(text: str, words: list[tuple[int, int]]) -> None:
    speech = Speech(b"\x00" * 16000, tuple(SpokenWord(*word) for word in words))
    parts = cut(speech, text)
    assert "".join(part.text for part in parts) == text
    assert len(b"".join(part.mulaw for part in parts)) == 16000


def test_the_cuts_are_loud() -> None:
    audio = b"".join(part.mulaw for part in cut(espeak.speak(TEXTS[0]), TEXTS[0]))
    assert np.abs(decode(audio).astype(np.int32)).mean() > 500
