"""What the simulated caller does beside speaking, as the platform's own detector hears it."""

from collections.abc import Callable

import numpy as np
import pytest

from services.stt.detector import SpeechDetector, Started, Stopped
from services.stt.silero import Silero
from services.stt.vad import VadBatcher
from shared.audio import FRAME_BYTES, SILENCE, bytes_of
from shared.espeak import speak, trim
from shared.pcm import decode
from simulator.sounds import cough, hold_music, hum, noise, throat

MIN_SPEECH_MS = 250
"""The voice that pauses the agent, as the profile has it."""


@pytest.fixture(scope="module")
def silero() -> Silero:
    return Silero()


def voice_ms(silero: Silero, mulaw: bytes) -> list[int]:
    """How long each utterance is that the detector finds in `mulaw`."""
    detector, found = SpeechDetector(), []
    batcher = VadBatcher(silero, lambda work: None)
    stream = batcher.stream(lambda probability, at: found.append(detector.hear(probability, at)))
    line = SILENCE * bytes_of(1000) + mulaw + SILENCE * bytes_of(800)
    for at in range(0, len(line), FRAME_BYTES):
        stream.feed(at // 8, line[at : at + FRAME_BYTES])
    batcher.run()
    changes = [change for change in found if change is not None]
    assert [type(change) for change in changes] == [Started, Stopped] * (len(changes) // 2)
    return [stop.t_ms - start.t_ms for start, stop in zip(changes[::2], changes[1::2], strict=True)]


def rms(mulaw: bytes) -> float:
    return float(np.sqrt(np.mean(decode(mulaw).astype(np.float64) ** 2))) / 32768


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_cough_is_taken_for_so_much_voice_that_the_agent_pauses(silero: Silero, seed: int) -> None:
    (length_ms,) = voice_ms(silero, cough(seed=seed))
    assert MIN_SPEECH_MS <= length_ms <= 400


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_short_cough_is_not(silero: Silero, seed: int) -> None:
    assert sum(voice_ms(silero, cough(200, seed))) < MIN_SPEECH_MS


@pytest.mark.parametrize(("sound", "longest_ms"), [(throat(), 550), (hum(400), 500), (hum(800), 900)])
def test_a_throat_and_a_hum_are_taken_for_a_voice(silero: Silero, sound: bytes, longest_ms: int) -> None:
    (length_ms,) = voice_ms(silero, sound)
    assert MIN_SPEECH_MS < length_ms <= longest_ms


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_hold_music_is_taken_for_no_voice(silero: Silero, seed: int) -> None:
    assert voice_ms(silero, hold_music(10, seed)) == []


@pytest.mark.parametrize("loud", [0.01, 0.1, 0.3])
def test_noise_is_taken_for_no_voice(silero: Silero, loud: float) -> None:
    assert voice_ms(silero, noise(2000, loud=loud)) == []
    assert rms(noise(2000, loud=loud)) == pytest.approx(loud, rel=0.05)


def test_a_cough_begins_with_a_blast_and_dies_away() -> None:
    parts = [rms(cough(400)[bytes_of(start) : bytes_of(start + 50)]) for start in (0, 100, 200, 300, 350)]
    assert parts[0] > 0.05
    assert parts[1:] == sorted(parts[1:], reverse=True)
    assert parts[-1] < parts[1] / 4


def test_a_blast_hisses_and_a_voice_does_not() -> None:
    def changes_of_sign(mulaw: bytes) -> int:
        return int(np.count_nonzero(np.diff(np.signbit(decode(mulaw)))))

    sound = cough(400)
    assert changes_of_sign(sound[: bytes_of(35)]) > 1.3 * changes_of_sign(sound[bytes_of(100) : bytes_of(135)])


def test_hold_music_is_made_of_tones() -> None:
    music = hold_music(6.4)
    spectrum = np.sort(np.abs(np.fft.rfft(decode(music).astype(np.float64))) ** 2)[::-1]
    assert spectrum[: len(spectrum) // 50].sum() > 0.9 * spectrum.sum()
    assert min(rms(music[at : at + bytes_of(200)]) for at in range(0, len(music), bytes_of(200))) > 0.01


@pytest.mark.parametrize("make", [cough, throat, hum, noise, lambda ms: hold_music(ms / 1000)])
@pytest.mark.parametrize("ms", [20, 100, 333, 1000])
def test_a_sound_is_as_long_as_asked_and_always_the_same(make: Callable[[int], bytes], ms: int) -> None:
    assert len(make(ms)) == bytes_of(ms)
    assert make(ms) == make(ms)


@pytest.mark.parametrize("make", [cough, lambda seed: noise(300, seed), lambda seed: hold_music(3, seed)])
def test_another_seed_makes_another_sound(make: Callable[..., bytes]) -> None:
    assert make(seed=1) != make(seed=2)


def test_a_caller_is_no_louder_when_he_coughs_than_when_he_speaks() -> None:
    speech = rms(trim(speak("what are your opening hours").mulaw))
    for sound in (cough(), throat(), hum(400)):
        assert speech / 2 < rms(sound) < speech * 2
    assert rms(hold_music(10)) < speech
