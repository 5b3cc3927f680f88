import numpy as np
import pytest

from shared.audio import SILENCE, bytes_of
from shared.espeak import speak, trim
from shared.pcm import decode, encode
from simulator.ear import SAME, PhraseBook, similarity

ORDER = "my order number is one two three four"
OTHER_ORDER = "my order number is one two three five"


def silence(ms: int) -> bytes:
    return SILENCE * bytes_of(ms)


def test_a_clip_is_found_where_it_lies_in_longer_audio() -> None:
    clip = trim(speak(ORDER).mulaw)
    longer = silence(700) + trim(speak("what did I book").mulaw) + silence(300)
    match = similarity(clip, longer + clip + silence(400))
    assert match.score > 0.95
    assert abs(match.at_ms - len(longer) // 8) <= 10


def test_a_sentence_said_again_is_the_same() -> None:
    clip = trim(speak(ORDER).mulaw)
    scores = [similarity(clip, silence(13 * n) + speak(ORDER).mulaw).score for n in range(8)]
    assert min(scores) > SAME


@pytest.mark.parametrize("other", [OTHER_ORDER, "my order number is nine two three four", "what is your address"])
def test_one_other_word_is_not_the_same(other: str) -> None:
    assert similarity(trim(speak(ORDER).mulaw), silence(200) + speak(other).mulaw).score < SAME


def test_quiet_speech_is_still_the_same() -> None:
    quiet = encode((decode(speak(ORDER).mulaw) // 2).astype("int16"))
    assert similarity(trim(speak(ORDER).mulaw), quiet).score > SAME


def test_a_clip_with_a_hole_is_not_the_same() -> None:
    clip = trim(speak(ORDER).mulaw)
    middle = len(clip) // 2
    assert similarity(clip, clip[:middle] + silence(200) + clip[middle + bytes_of(200) :]).score < SAME


def test_audio_shorter_than_the_clip_scores_low() -> None:
    clip = trim(speak(ORDER).mulaw)
    assert similarity(clip, clip[: len(clip) // 2]).score < 0.5
    assert similarity(clip, b"").score < 0.5


def test_the_book_tells_similar_order_numbers_apart() -> None:
    book = PhraseBook()
    digits = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    numbers = np.random.default_rng(7).choice(digits, size=(20, 4))
    phrases = ["my order number is " + " ".join(number) for number in numbers] + [ORDER, OTHER_ORDER]
    for phrase in phrases:
        book.learn(phrase)
    for phrase in phrases:
        heard = book.recognise(silence(190) + speak(phrase).mulaw + silence(300))
        assert heard is not None
        assert heard.text == phrase


def test_the_book_does_not_know_speech_that_it_did_not_learn() -> None:
    book = PhraseBook()
    book.learn(ORDER)
    assert book.recognise(speak(OTHER_ORDER).mulaw) is None
    assert book.recognise(silence(500)) is None
    assert book.recognise(b"") is None


def test_a_phrase_that_is_only_a_part_is_not_recognised() -> None:
    book = PhraseBook()
    book.learn("goodbye")
    assert book.recognise(speak("thank you very much goodbye").mulaw) is None


def test_a_phrase_is_learned_by_voice_and_speed() -> None:
    book = PhraseBook()
    book.learn(ORDER, voice="en-gb-x-rp", words_per_minute=150)
    slow_british = speak(ORDER, "en-gb-x-rp", 150).mulaw
    assert book.recognise(speak(ORDER).mulaw) is None
    book.learn(ORDER)
    for mulaw in (slow_british, speak(ORDER).mulaw):
        heard = book.recognise(mulaw)
        assert heard is not None
        assert heard.text == ORDER
