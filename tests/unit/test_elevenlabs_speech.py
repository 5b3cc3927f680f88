"""The times of characters in the stand-in's chunks."""

from itertools import accumulate

import pytest

from shared import espeak
from shared.audio import bytes_of, duration_ms
from simulator import telegraph
from simulator.standins.elevenlabs_speech import Chunk, chunks

TEXT = "Order four two zero five has left our kitchen, and it will be with you in ten minutes."


def times(made: list[Chunk]) -> list[int]:
    """When each character begins."""
    begins = accumulate((duration_ms(chunk.mulaw) for chunk in made), initial=0)
    return [begin + start for begin, chunk in zip(begins, made, strict=False) for _, start, _ in chunk.chars]


@pytest.mark.parametrize("speech_of", [espeak.speak, telegraph.speak])
@pytest.mark.parametrize("text", [TEXT, f"  {TEXT} ", "Hi"])
def test_every_character_and_every_sample_is_in_one_chunk(speech_of, text: str) -> None:  # type: ignore[no-untyped-def]
    speech = speech_of(text)
    made = list(chunks(speech, text))
    assert b"".join(chunk.mulaw for chunk in made) == speech.mulaw
    assert "".join(char for chunk in made for char, _, _ in chunk.chars) == text
    assert times(made) == sorted(times(made))
    for chunk in made[:-1]:
        assert all(0 <= start < duration_ms(chunk.mulaw) for _, start, _ in chunk.chars)


@pytest.mark.parametrize("text", [TEXT, f"  {TEXT} ", "Hi"])
def test_the_characters_of_a_telegram_begin_with_its_sound(text: str) -> None:
    speech = telegraph.speak(text)
    begin = times(list(chunks(speech, text)))
    for telegram, word in zip(telegraph.read(speech.mulaw), speech.words, strict=True):
        assert bytes_of(begin[word.position]) == telegram.at
        assert text[word.position :].startswith(telegram.text)
