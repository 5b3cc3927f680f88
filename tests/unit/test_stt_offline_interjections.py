"""The offline recogniser and what people say in between: stop words, backchannels, coughs. With real audio."""

import numpy as np
import pytest
from structlog.testing import capture_logs

from services.stt.provider import Hypothesis
from services.stt.providers import offline, offline_language
from services.stt.providers.offline_words import sounds_of_interjection
from shared.agents import AgentProfile
from shared.audio import FRAME_BYTES, SILENCE, bytes_of, duration_ms
from shared.espeak import speak, trim
from shared.pcm import encode
from shared.turn_taking import BargeInProfile, TurnProfile

ONSET_MS, HANG_OVER_MS = 100, 240
"""How late the VAD tells of speech and of silence."""


async def heard(mulaw: bytes, profile: AgentProfile | None = None) -> tuple[str, list[tuple[int, str]]]:
    """The final text of one utterance, and its interims with the ms since its first sound."""
    interims: list[tuple[int, str]] = []
    finals: list[str] = []
    now_ms = 0

    def listen(hypothesis: Hypothesis) -> None:
        if hypothesis.final:
            finals.append(hypothesis.text)
        else:
            interims.append((now_ms, hypothesis.text))

    profile = profile or AgentProfile(name="test")
    transcriber = await offline.open_transcriber(profile, listen, lambda _: None)
    before_ms = 400
    audio = SILENCE * bytes_of(before_ms) + mulaw + SILENCE * bytes_of(HANG_OVER_MS)
    for start in range(0, len(audio), FRAME_BYTES):
        now_ms = duration_ms(audio[: start + FRAME_BYTES]) - before_ms
        await transcriber.feed(audio[start : start + FRAME_BYTES])
        if now_ms == ONSET_MS:
            await transcriber.begin()
    await transcriber.finish()
    await transcriber.close()
    return "".join(finals), interims


def said(text: str, voice: str = "en-us") -> bytes:
    return trim(speak(text, voice).mulaw)


def burst(ms: int, smooth: int) -> bytes:
    """A noise that begins at once and dies away, as a cough does."""
    samples = bytes_of(ms)
    white = np.random.default_rng(smooth).standard_normal(samples)
    noise = np.convolve(white, np.ones(smooth) / smooth, "same") * np.exp(-4 * np.arange(samples) / samples)
    return encode((noise / np.max(np.abs(noise)) * 6000).astype(np.int16))


@pytest.mark.parametrize("text", ["uh-huh", "stop", "wait", "no", "okay", "excuse me", "hold on", "alright", "i see"])
async def test_an_interjection_alone_is_understood_and_written_as_in_the_profile(text: str) -> None:
    final, _ = await heard(said(text))
    assert final == text


@pytest.mark.parametrize("text", ["yeah", "yes", "yep"])
async def test_an_assent_is_understood_as_some_backchannel(text: str) -> None:
    final, interims = await heard(said(text))
    assert final in BargeInProfile().backchannels
    assert interims == []


@pytest.mark.parametrize("voice", ["en-us", "en-gb-x-rp", "en-us+f3"])
@pytest.mark.parametrize("text", ["no wait where are you located", "wait thank you goodbye"])
async def test_a_sentence_after_stop_words_is_understood_with_them(text: str, voice: str) -> None:
    final, interims = await heard(said(text, voice))
    assert final == text
    assert interims[0][1].split()[0] == text.split()[0]


@pytest.mark.parametrize("text", ["what are your opening hours", "wait what is your address", "where are you located"])
async def test_the_first_interim_comes_within_half_a_second_of_the_first_sound(text: str) -> None:
    _, interims = await heard(said(text))
    at_ms, words = interims[0]
    assert at_ms <= 500
    assert text.startswith(words)


@pytest.mark.parametrize("ms", [150, 250, 350, 500])
@pytest.mark.parametrize("smooth", [1, 4, 10])
async def test_a_cough_has_no_words(ms: int, smooth: int) -> None:
    assert await heard(burst(ms, smooth)) == ("", [])


@pytest.mark.parametrize("text", ["uh", "um"])
async def test_a_hesitation_has_no_words(text: str) -> None:
    assert await heard(said(text)) == ("", [])


async def test_a_profile_with_interjections_of_its_own_hears_them() -> None:
    barge_in = BargeInProfile(stop_words=("Hang on",), backchannels=())
    profile = AgentProfile(name="test", turns=TurnProfile(barge_in=barge_in))
    final, _ = await heard(said("hang on what is your address"), profile)
    assert final == "Hang on what is your address"


async def test_a_profile_without_interjections_hears_the_scenario() -> None:
    profile = AgentProfile(name="test", turns=TurnProfile(barge_in=BargeInProfile(stop_words=(), backchannels=())))
    final, _ = await heard(said("what are your opening hours"), profile)
    assert final == "what are your opening hours"


def test_interjections_that_cannot_be_pronounced_are_left_out_with_one_log_line() -> None:
    with capture_logs() as logs:
        language = offline_language.load("bella", ("stop", "zzyzxq", "¡alto!"), ("ah", "okay"))
    assert logs == [
        {
            "event": "interjections_left_out",
            "log_level": "info",
            "scenario": "bella",
            "words": ["zzyzxq", "¡alto!", "ah"],
        }
    ]
    assert language.covers("stop what is your address")
    assert language.covers("okay")
    assert not language.covers("ah")


def test_of_interjections_that_sound_alike_the_first_is_written() -> None:
    language = offline_language.load("bella", (), ("uh-huh", "uh huh", "okay", "ok"))
    assert dict(language.interjections) == {"uh-huh": "uh-huh", "okay": "okay"}


def test_up_to_two_stop_words_stand_before_a_sentence_and_backchannels_alone() -> None:
    language = offline_language.load("bella", ("no", "hold on"), ("okay",))
    for covered in ("no", "no hold_on", "no no goodbye", "hold_on goodbye", "goodbye", "okay"):
        assert language.covers(covered)
    for other in ("no no no", "okay goodbye", "goodbye no", "okay okay"):
        assert not language.covers(other)


def test_an_interjection_is_pronounced_by_hand_by_the_dictionary_or_word_by_word() -> None:
    assert "AH HH AH T" in sounds_of_interjection("uh-huh")
    assert sounds_of_interjection("Excuse me") == ("IH K S K Y UW S M IY", "IH K S K Y UW Z M IY")
    assert sounds_of_interjection("stop-it") == ("S T AA P IH T", "S T AO P IH T")
    assert sounds_of_interjection("ah") == sounds_of_interjection("hm") == ()
