"""Cutting spoken text into pieces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.captions import Captions
from services.tts.cutting import Cut, Cutter, cut, split
from shared import espeak
from shared.audio import SILENCE, bytes_of, duration_ms
from shared.espeak import Speech, SpokenWord
from shared.pcm import decode

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
def test_no_piece_is_longer_than_500_ms(text: str) -> None:
    assert all(0 < duration_ms(part.mulaw) <= 500 for part in cut(espeak.speak(text), text))


def test_a_piece_ends_where_its_last_word_ends() -> None:
    text = "One two three"
    audio = b"\x00" * bytes_of(600)
    words = (SpokenWord(0, 0), SpokenWord(4, 200), SpokenWord(8, 400))
    parts = cut(Speech(audio, words), text)
    assert [(duration_ms(part.mulaw), part.text) for part in parts] == [(200, "One "), (200, "two "), (200, "three")]


def test_a_word_travels_with_the_next_only_if_it_is_shorter_than_a_piece() -> None:
    text = "I am it"
    words = (SpokenWord(0, 0), SpokenWord(2, 60), SpokenWord(5, 120))
    parts = cut(Speech(b"\x00" * bytes_of(240), words), text)
    assert [(duration_ms(part.mulaw), part.text) for part in parts] == [(120, "I am "), (120, "it")]


def test_a_short_last_word_is_a_piece_of_its_own() -> None:
    parts = cut(Speech(b"\x00" * bytes_of(260), (SpokenWord(0, 0), SpokenWord(4, 200))), "Ask it")
    assert [(duration_ms(part.mulaw), part.text) for part in parts] == [(200, "Ask "), (60, "it")]


def test_the_text_of_a_long_word_comes_with_its_end() -> None:
    parts = cut(Speech(b"\x00" * bytes_of(1200), (SpokenWord(0, 0),)), "Vegetarian ")
    assert [part.text for part in parts] == ["", "", "Vegetarian "]


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_ends_where_espeak_begins_the_next_word(text: str) -> None:
    speech = espeak.speak(text)
    # espeak tells a long number as several words at the same place.
    begins = {word.position: bytes_of(word.start_ms) for word in reversed(speech.words)}
    parts = cut(speech, text)
    chars = end = 0
    for part in parts[:-1]:
        chars, end = chars + len(part.text), end + len(part.mulaw)
        if part.text:
            assert begins[chars] == end


def test_a_text_without_a_sound_makes_no_piece() -> None:
    assert cut(espeak.speak("... "), "... ") == []


@given(st.binary(min_size=1, max_size=9000))
def test_splitting_keeps_every_byte(audio: bytes) -> None:
    parts = split(audio)
    assert b"".join(parts) == audio
    assert all(0 < len(part) <= bytes_of(500) for part in parts)


@given(
    st.text(alphabet="ab é.", min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3000)), max_size=8),
)
def test_whatever_the_engine_says_of_words_the_text_stays_whole(text: str, words: list[tuple[int, int]]) -> None:
    speech = Speech(b"\x00" * 16000, tuple(SpokenWord(*word) for word in words))
    parts = cut(speech, text)
    assert "".join(part.text for part in parts) == text
    assert len(b"".join(part.mulaw for part in parts)) == 16000


MS = 20
"""How long each character lasts in the streams below."""


def stream(text: str, *messages_ms: int, every_ms: int | None = None) -> list[Cut]:
    """The pieces of `text` when it comes in messages of such lengths, each with the times of its characters.

    They come `every_ms`, or each when the caller has heard the one before.
    """
    captions = Captions()
    captions.add(text)
    cutter, said, cuts, now_ms = Cutter(captions), 0, [], 0
    for length_ms in messages_ms:
        chars = text[said : said + length_ms // MS]
        captions.align(chars, [index * MS for index in range(len(chars))], [MS] * len(chars))
        cuts += cutter.feed(b"\x00" * bytes_of(length_ms), 1000 + now_ms / 1000)
        now_ms += length_ms if every_ms is None else every_ms
        said += len(chars)
    rest = captions.rest()
    return [*cuts, Cut(cutter.rest(), rest)] if rest or cutter.rest() else cuts


def lengths(cuts: list[Cut]) -> list[tuple[int, str]]:
    return [(duration_ms(cut.mulaw), cut.text) for cut in cuts]


def test_a_stream_is_cut_where_words_end() -> None:
    assert lengths(stream("Seven eleven ", 260)) == [(100, "Seven "), (160, "eleven ")]


def test_a_stream_is_not_held_up_by_a_word_that_goes_on() -> None:
    cuts = stream("Seven vegetarians ", 240, 120)
    assert lengths(cuts) == [(100, "Seven "), (140, ""), (120, "vegetarians ")]


def test_a_short_beginning_of_a_word_waits_for_more_of_it() -> None:
    assert lengths(stream("Seven eleven ", 160, 100)) == [(100, "Seven "), (160, "eleven ")]


def test_short_words_of_a_stream_travel_together() -> None:
    assert lengths(stream("I do it now ", 240)) == [(140, "I do it "), (100, "now ")]


def test_the_end_of_a_text_is_not_held_back_however_short_it_is() -> None:
    assert lengths(stream("Seven I ", 140)) == [(100, "Seven "), (40, "I ")]


def test_the_silence_after_the_last_word_travels_with_it() -> None:
    assert lengths(stream("Seven ", 180)) == [(180, "Seven ")]


def test_a_stream_without_times_is_cut_in_equal_parts() -> None:
    captions = Captions(chars_per_s=50)
    captions.add("Seven eleven ")
    cuts = Cutter(captions).feed(b"\x00" * bytes_of(400), 0)
    assert lengths(cuts) == [(200, "Seven "), (200, "eleven ")]


LONG = "One vegetarian pizza, and one without cheese "
MESSAGES_MS = (900, *(100,) * 9)


def test_a_voice_that_is_ahead_of_the_ear_says_each_word_to_its_end() -> None:
    _, *pieces = lengths(stream(2 * LONG, *MESSAGES_MS, every_ms=0))
    assert all(text for _, text in pieces)
    assert (300, "One vegetarian ") in pieces


def test_a_voice_that_is_no_faster_than_the_ear_holds_nothing_back() -> None:
    pieces = lengths(stream(2 * LONG, *MESSAGES_MS))
    assert pieces[pieces.index((120, "")) :][:3] == [(120, ""), (100, ""), (80, "One vegetarian ")]


@pytest.mark.parametrize("every_ms", [None, 0, 100])
@given(st.lists(st.text(alphabet="ab .", max_size=20), max_size=4), st.lists(st.integers(0, 600), max_size=8))
def test_a_stream_keeps_every_byte_and_word_however_it_comes(
    every_ms: int | None, texts: list[str], messages_ms: list[int]
) -> None:
    text = "".join(texts)
    cuts = stream(text, *messages_ms, every_ms=every_ms)
    assert sum(len(part.mulaw) for part in cuts) == bytes_of(sum(messages_ms))
    assert "".join(part.text for part in cuts) == text
    assert all(duration_ms(part.mulaw) <= 500 for part in cuts)
    assert all(part.mulaw for part in cuts[:-1])


@given(st.lists(st.sampled_from(["a", "bcd", "efghi", "jklmnopqrstuvwxyzabc"]), min_size=1, max_size=6), st.data())
def test_a_text_in_a_stream_ends_exactly_where_its_last_word_does(words: list[str], data: st.DataObject) -> None:
    text = "".join(f"{word} " for word in words)
    sizes = data.draw(st.lists(st.integers(1, 15), min_size=1, max_size=30))
    sizes.append(max(0, len(text) - sum(sizes)))
    chars = end = 0
    for part in stream(text, *(size * MS for size in sizes)):
        chars, end = chars + len(part.text), end + duration_ms(part.mulaw)
        if part.text and chars < len(text):
            assert end == (chars - 1) * MS


def test_the_cuts_are_loud() -> None:
    audio = b"".join(part.mulaw for part in cut(espeak.speak(TEXTS[0]), TEXTS[0]))
    assert np.abs(decode(audio).astype(np.int32)).mean() > 500
