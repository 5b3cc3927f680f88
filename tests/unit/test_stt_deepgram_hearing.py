"""The Deepgram stand-in's endpointing and its understanding of pieces, on espeak-ng's speech."""

import numpy as np
import pytest

from shared import espeak
from shared.audio import FRAME_BYTES, SILENCE, bytes_of
from shared.pcm import encode
from simulator.ear import PhraseBook
from simulator.standins.deepgram_hearing import Began, Ended, Event, Hearing, Segment
from simulator.standins.deepgram_scribe import Scribe

TEXT = "Hello there, I would like to book a table for four."


def say(text: str) -> bytes:
    return espeak.trim(espeak.speak(text).mulaw)


def silence(ms: int) -> bytes:
    return SILENCE * bytes_of(ms)


def feed(hearing: Hearing, mulaw: bytes) -> list[Event]:
    cuts = range(0, len(mulaw), FRAME_BYTES)
    return [event for at in cuts for event in hearing.feed(mulaw[at : at + FRAME_BYTES])]


def segments(events: list[Event]) -> list[Segment]:
    return [event for event in events if isinstance(event, Segment)]


def test_silence_after_speech_makes_it_final() -> None:
    speech = say("Yes please.")
    found = segments(feed(Hearing(300), silence(400) + speech + silence(400)))
    final = found[-1]
    assert final.is_final
    assert final.speech_final
    assert not final.from_finalize
    assert abs(final.speech_start - bytes_of(400)) <= bytes_of(30)
    assert abs(len(final.speech) - len(speech)) <= bytes_of(50)
    assert abs(final.end - (bytes_of(400 + 300) + len(speech))) <= bytes_of(30)


def test_without_endpointing_only_finalize_makes_speech_final() -> None:
    hearing = Hearing(None)
    assert not any(segment.is_final for segment in segments(feed(hearing, say("Yes please.") + silence(2000))))
    final = hearing.finalize()
    assert final is not None
    assert final.from_finalize
    assert final.speech


def test_speech_brings_an_interim_segment_every_half_second() -> None:
    found = segments(feed(Hearing(None), say(TEXT)))
    assert [segment.end - found[0].end for segment in found] == [bytes_of(500) * step for step in range(len(found))]
    assert len(found) >= 4


def test_finalize_with_nothing_left_finds_no_segment() -> None:
    hearing = Hearing(None)
    assert hearing.finalize() is None
    feed(hearing, silence(100))
    assert hearing.finalize() is not None
    assert hearing.finalize() is None


def test_long_silence_becomes_final_without_text() -> None:
    (segment,) = segments(feed(Hearing(None), silence(6000)))
    assert segment.is_final
    assert segment.speech == b""
    assert segment.end == bytes_of(5000)


def test_the_end_of_an_utterance_is_told_also_when_nothing_made_it_final() -> None:
    events = feed(Hearing(None, 1000), say("Yes please.") + silence(3000))
    assert len([event for event in events if isinstance(event, Ended)]) == 1
    assert not any(segment.is_final for segment in segments(events))


def test_the_end_of_an_utterance_is_told_once() -> None:
    events = feed(Hearing(300, 1000), say("Yes please.") + silence(3000))
    assert len([event for event in events if isinstance(event, Began)]) == 1
    assert len([event for event in events if isinstance(event, Ended)]) == 1


@pytest.mark.parametrize("options", [(None, None), (300, 1000), (10, 2000), (None, 1000)])
@pytest.mark.parametrize("size", [1, 160, 477, 480, 8000, 100_000])
def test_it_makes_no_difference_how_the_audio_comes(options: tuple[int | None, int | None], size: int) -> None:
    quiet = b"\xfe\x7e" * 8000
    stream = silence(400) + say("Yes please.") + quiet + silence(5500) + say("No.") + silence(2000) + b"\x90"
    hop, other = Hearing(*options), Hearing(*options)
    by_hop = [event for at in range(0, len(stream), 80) for event in hop.feed(stream[at : at + 80])]
    assert [event for at in range(0, len(stream), size) for event in other.feed(stream[at : at + size])] == by_hop
    assert other.position == hop.position == len(stream) - len(stream) % 80
    assert other.silence == hop.silence
    assert other.finalize() == hop.finalize()


def segment_of(hearing: Hearing, mulaw: bytes) -> Segment:
    feed(hearing, mulaw)
    final = hearing.finalize()
    assert final is not None
    return final


def test_a_phrase_cut_in_its_pause_is_understood_piece_by_piece() -> None:
    book = PhraseBook()
    book.learn(TEXT)
    scribe, hearing, speech = Scribe(book), Hearing(None), say(TEXT)
    cut = len(speech) // 2
    first = scribe.read(segment_of(hearing, speech[:cut]))
    second = scribe.read(segment_of(hearing, speech[cut:]))
    assert first.text
    assert second.text
    assert f"{first.text} {second.text}" == TEXT
    assert first.words[-1].end <= second.words[0].start


def test_the_same_phrase_said_twice_in_a_row_is_understood_twice() -> None:
    book = PhraseBook()
    book.learn("Yes please.")
    scribe, hearing = Scribe(book), Hearing(None)
    texts = [scribe.read(segment_of(hearing, silence(300) + say("Yes please.") + silence(200))).text for _ in range(2)]
    assert texts == ["Yes please.", "Yes please."]


def test_unknown_speech_and_noise_are_not_understood() -> None:
    book = PhraseBook()
    book.learn(TEXT)
    noise = encode((np.random.default_rng(1).normal(0, 3000, 8000)).astype(np.int16))
    for sound in (say("Seven green bottles are hanging on the wall."), noise):
        assert Scribe(book).read(segment_of(Hearing(None), sound)).text == ""


def test_the_beginning_of_a_phrase_is_understood_in_whole_words() -> None:
    book = PhraseBook()
    book.learn(TEXT)
    speech = say(TEXT)
    heard = book.recognise_beginning(speech[: len(speech) * 2 // 3])
    assert heard is not None
    assert TEXT.startswith(heard.text + " ")
    assert len(heard.text) > len(TEXT) // 2
    assert book.recognise_beginning(say("Seven green bottles are hanging on the wall.")) is None


SHORT = ("uh-huh", "yeah", "yes", "no", "stop", "wait", "no wait", "okay", "mhm", "right")


@pytest.mark.parametrize("word", SHORT)
def test_one_short_word_is_understood_among_the_others(word: str) -> None:
    book = PhraseBook()
    for text in (*SHORT, TEXT):
        book.learn(text)
    heard = Scribe(book).read(segment_of(Hearing(None), silence(170) + say(word) + silence(230)))
    assert heard.text == word
    assert heard.whole
