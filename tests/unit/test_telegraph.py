"""The telegraph voice: what it says can be read in any track, and nothing else can."""

import pytest

from shared.audio import SILENCE, bytes_of, duration_ms
from shared.espeak import speak as speak_aloud
from shared.loudness import first_audible
from shared.pcm import audible
from simulator import telegraph
from simulator.telegraph import Telegram

TEXT = "Order four two zero five has left our kitchen, and it will be with you in ten minutes."


def texts(mulaw: bytes) -> list[str]:
    return [telegram.text for telegram in telegraph.read(mulaw)]


@pytest.mark.parametrize("text", [TEXT, "Ça va, Zoë? 東京 … — naïve 😀!", "a", "x" * 300])
@pytest.mark.parametrize("words_per_minute", [80, 165, 450, 100_000])
def test_what_is_said_is_read(text: str, words_per_minute: int) -> None:
    assert texts(telegraph.speak(text, words_per_minute).mulaw) == text.split()


def test_words_begin_where_they_are_said_to_begin_and_can_be_heard_at_once() -> None:
    text = f"  {TEXT}\nIs there anything else? "
    speech = telegraph.speak(text)
    telegrams = telegraph.read(speech.mulaw)
    assert [bytes_of(word.start_ms) for word in speech.words] == [telegram.at for telegram in telegrams]
    assert [text[word.position :].split()[0] for word in speech.words] == text.split()
    assert all(audible(speech.mulaw)[telegram.at] for telegram in telegrams)
    assert first_audible(speech.mulaw) == 0


def test_it_is_about_as_long_as_speech() -> None:
    for text in (TEXT, "my order number is one two three four", "I am sorry, I did not understand that."):
        ratio = duration_ms(telegraph.speak(text).mulaw) / duration_ms(speak_aloud(text).mulaw)
        assert 0.85 < ratio < 1.15
    assert len(telegraph.speak(TEXT, 330).mulaw) == pytest.approx(len(telegraph.speak(TEXT).mulaw) / 2, rel=0.01)


def test_words_are_read_wherever_they_lie() -> None:
    one, other = telegraph.speak("Hello there.").mulaw, telegraph.speak("Goodbye!").mulaw
    track = SILENCE * 777 + one + speak_aloud("my order number").mulaw + other
    read = telegraph.read(track)
    assert [telegram.text for telegram in read] == ["Hello", "there.", "Goodbye!"]
    assert read[0] == Telegram(777, "Hello")
    assert track[read[2].at :] == other


def test_a_word_that_is_cut_off_in_its_mark_is_left_out() -> None:
    mulaw = telegraph.speak("Hello there").mulaw
    second = telegraph.read(mulaw)[1].at
    mark = 8 + 2 * (2 + len("there") + 4)
    for cut in range(second, second + mark):
        assert texts(mulaw[:cut]) == ["Hello"]
    assert texts(mulaw[: second + mark]) == ["Hello", "there"]
    assert texts(mulaw[1:]) == ["there"]


def test_a_damaged_word_is_left_out() -> None:
    mulaw = telegraph.speak("Hello there").mulaw
    second = telegraph.read(mulaw)[1].at
    for at in range(second, second + 8 + 2 * (2 + len("there") + 4)):
        for wrong in (0xFF, mulaw[at] ^ 1, ord("0")):
            assert texts(mulaw[:at] + bytes([wrong]) + mulaw[at + 1 :]) == ["Hello"]


def test_frames_that_are_missing_or_silent_take_only_their_own_words() -> None:
    mulaw = telegraph.speak(TEXT).mulaw
    words = TEXT.split()
    hit = telegraph.read(mulaw)[3].at
    without = mulaw[: hit - 40] + mulaw[hit + 120 :]
    assert texts(without) == words[:3] + words[4:]


@pytest.mark.parametrize("voice", ["en-us", "en-gb-x-rp", "de"])
def test_no_speech_is_read_as_a_word(voice: str) -> None:
    assert telegraph.read(speak_aloud(f"{TEXT} Fizz, buzz, hiss! {TEXT}", voice).mulaw) == []
    assert telegraph.read(SILENCE * 8000) == []
    assert telegraph.read(bytes(range(256)) * 20) == []


def test_a_tone_is_no_word() -> None:
    # A long word is nearly all tone.
    assert len(telegraph.read(telegraph.speak("x" * 500).mulaw)) == 1


def test_a_word_must_fit_its_length() -> None:
    assert telegraph.speak("").mulaw == b""
    with pytest.raises(ValueError, match="too long"):
        telegraph.speak("x" * 65536)
