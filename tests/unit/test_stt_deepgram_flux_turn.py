"""The Flux stand-in's turns, on espeak-ng's speech."""

import numpy as np
import pytest

from shared import espeak
from shared.audio import SILENCE, bytes_of
from shared.pcm import encode
from simulator.ear import PhraseBook
from simulator.standins.deepgram_flux_hearing import UPDATE_MS, FluxHearing
from simulator.standins.deepgram_flux_turn import FluxTurn, Said
from simulator.standins.deepgram_scribe import Scribe

BOOKING = "I would like to book a table for four people."
DETAILS = "At seven in the evening, please."
TRAILING = "The number is one two,"
EAGER_MS, END_MS, TIMEOUT_MS = 200, 400, 1200


def say(text: str) -> bytes:
    return espeak.trim(espeak.speak(text).mulaw)


def silence(ms: int) -> bytes:
    return SILENCE * bytes_of(ms)


class Flux:
    """One stream."""

    def __init__(self, *, eager: bool = True, end_ms: int | None = END_MS) -> None:
        book = PhraseBook()
        for text in (BOOKING, DETAILS, TRAILING):
            book.learn(text)
        self.scribe = Scribe(book)
        self.hearing = FluxHearing(EAGER_MS, (END_MS, TIMEOUT_MS))
        self.turn = FluxTurn(eager=eager, end_ms=end_ms, timeout_ms=TIMEOUT_MS)

    def hear(self, *sounds: bytes) -> list[Said]:
        mulaw, said = b"".join(sounds), []
        for at in range(0, len(mulaw), bytes_of(80)):
            for moment in self.hearing.feed(mulaw[at : at + bytes_of(80)]):
                said += self.turn.step(moment, self.scribe.read(moment.segment))
        return said


def changes(said: list[Said]) -> list[str]:
    return [each.event for each in said if each.event != "Update"]


def text(said: Said) -> str:
    return " ".join(word.text for word in said.words)


def test_a_sentence_starts_a_turn_that_is_likely_over_and_then_over() -> None:
    speech = say(BOOKING)
    said = Flux().hear(silence(400), speech, silence(1000))
    assert changes(said) == ["StartOfTurn", "EagerEndOfTurn", "EndOfTurn"]
    eager, over = (each for each in said if each.event in ("EagerEndOfTurn", "EndOfTurn"))
    assert text(eager) == text(over) == BOOKING
    last = bytes_of(400) + len(speech)
    assert abs(eager.end - last - bytes_of(EAGER_MS)) <= bytes_of(30)
    assert abs(over.end - last - bytes_of(END_MS)) <= bytes_of(30)
    assert over.trigger == "model"


def test_updates_come_about_every_quarter_second_in_speech_and_in_silence() -> None:
    said = Flux().hear(silence(960), say(BOOKING))
    ends = [each.end for each in said]
    assert all(end % bytes_of(UPDATE_MS) == 0 for end in ends)
    assert len(ends) >= 960 // UPDATE_MS + 6
    grown = [text(each) for each in said if each.words]
    assert all(BOOKING.startswith(words) for words in grown)
    assert len(set(grown)) >= 4


def test_the_first_words_are_told_within_half_a_second_of_speech() -> None:
    began = bytes_of(960)
    first = next(each for each in Flux().hear(silence(960), say(BOOKING)) if each.event == "StartOfTurn")
    assert first.end - began <= bytes_of(720)


def test_speech_after_a_likely_end_resumes_the_turn() -> None:
    said = Flux().hear(say(BOOKING), silence(320), say(DETAILS), silence(1000))
    assert changes(said) == ["StartOfTurn", "EagerEndOfTurn", "TurnResumed", "EagerEndOfTurn", "EndOfTurn"]
    over = next(each for each in said if each.event == "EndOfTurn")
    assert text(over) == f"{BOOKING} {DETAILS}"


def test_what_does_not_sound_finished_waits_for_the_timeout() -> None:
    speech = say(TRAILING)
    said = Flux().hear(speech, silence(2000))
    assert changes(said) == ["StartOfTurn", "EndOfTurn"]
    over = next(each for each in said if each.event == "EndOfTurn")
    assert over.trigger == "timeout"
    assert abs(over.end - len(speech) - bytes_of(TIMEOUT_MS)) <= bytes_of(30)


def test_half_a_sentence_waits_for_the_timeout() -> None:
    speech = say(BOOKING)
    said = Flux().hear(speech[: len(speech) // 2], silence(2000))
    assert changes(said) == ["StartOfTurn", "EndOfTurn"]
    assert BOOKING.startswith(text(next(each for each in said if each.event == "EndOfTurn")))


def test_without_eager_ends_none_is_told() -> None:
    said = Flux(eager=False).hear(say(BOOKING), silence(1000))
    assert changes(said) == ["StartOfTurn", "EndOfTurn"]


def test_a_threshold_of_one_leaves_the_end_to_the_timeout() -> None:
    said = Flux(end_ms=None).hear(say(BOOKING), silence(2000))
    over = next(each for each in said if each.event == "EndOfTurn")
    assert over.trigger == "timeout"


def test_turns_are_counted_and_follow_each_other() -> None:
    said = Flux().hear(say(BOOKING), silence(1000), say(DETAILS), silence(1000))
    first, second = (each for each in said if each.event == "EndOfTurn")
    assert (first.turn, second.turn) == (0, 1)
    assert (text(first), text(second)) == (BOOKING, DETAILS)
    assert second.start == first.end


@pytest.mark.parametrize("spoken", [True, False])
def test_noise_and_unknown_speech_start_no_turn(spoken: bool) -> None:
    noise = encode(np.random.default_rng(1).normal(0, 3000, bytes_of(500)).astype(np.int16))
    said = Flux().hear(say("Seven green bottles are hanging on the wall.") if spoken else noise, silence(2000))
    assert changes(said) == []
    assert not any(each.words for each in said)
