"""The speakerphone: what the phone plays comes back with what the caller says."""

import numpy as np
import pytest

from shared.audio import FRAME_BYTES, SILENCE, bytes_of
from shared.espeak import speak, trim
from shared.pcm import decode, encode
from simulator.echo import Echo
from simulator.playback import Playback
from simulator.wire import SILENT_FRAME

START = 1000.0


def returned(echo: Echo, playback: Playback, seconds: float, said: bytes = b"") -> bytes:
    """What leaves in the first `seconds` of the call."""
    frames = range(0, bytes_of(seconds * 1000), FRAME_BYTES)
    said = said.ljust(len(frames) * FRAME_BYTES, SILENCE)
    return b"".join(echo.frame(playback, START + at / 8000, said[at : at + FRAME_BYTES]) for at in frames)


def level(mulaw: bytes) -> float:
    return float(np.sqrt(np.mean(decode(mulaw).astype(np.float64) ** 2)))


def steady(amplitude: int, ms: float) -> bytes:
    return encode(np.full(bytes_of(ms), amplitude, dtype=np.int16))


@pytest.mark.parametrize("delay_ms", [0, 7, 20, 150, 400])
def test_the_agents_words_come_back_later_and_without_a_gap(delay_ms: int) -> None:
    playback = Playback(START)
    speech = trim(speak("what are your opening hours").mulaw)
    playback.append(START, speech)
    back = returned(Echo(delay_ms, gain_db=0.0), playback, 3.0)
    # The microphone fills a frame before it leaves.
    begins = bytes_of(delay_ms) + FRAME_BYTES
    assert np.array_equal(decode(back), decode((SILENCE * begins + speech).ljust(len(back), SILENCE)))


@pytest.mark.parametrize("gain_db", [-6.0, -12.0, -30.0])
def test_the_echo_is_softer_by_the_gain(gain_db: float) -> None:
    playback = Playback(START)
    speech = trim(speak("goodbye").mulaw)
    playback.append(START, speech)
    back = returned(Echo(20, gain_db), playback, 2.0)[2 * FRAME_BYTES : 2 * FRAME_BYTES + len(speech)]
    assert 20 * np.log10(level(back) / level(speech)) == pytest.approx(gain_db, abs=0.5)


def test_the_caller_is_heard_through_the_echo() -> None:
    playback = Playback(START)
    playback.append(START, steady(8000, 1000))
    back = returned(Echo(20, gain_db=-6.02), playback, 0.5, said=steady(-1000, 500))
    assert decode(back)[FRAME_BYTES // 2] == pytest.approx(-1000, abs=40)
    assert decode(back)[bytes_of(300)] == pytest.approx(3000, abs=120)


@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_too_loud_is_cut_and_does_not_wrap(sign: int) -> None:
    playback = Playback(START)
    playback.append(START, steady(sign * 30000, 1000))
    back = returned(Echo(20, gain_db=6.0), playback, 0.5, said=steady(sign * 30000, 500))
    assert np.all(sign * decode(back).astype(np.int32) > 25000)


def test_what_was_cleared_before_it_played_does_not_come_back() -> None:
    playback = Playback(START)
    playback.append(START, steady(8000, 1000))
    playback.clear(START + 0.2)
    back = returned(Echo(100, gain_db=0.0), playback, 1.0)
    assert back == SILENCE * bytes_of(120) + steady(8000, 200) + SILENCE * bytes_of(680)


def test_a_quiet_line_stays_silent() -> None:
    assert Echo().frame(Playback(START), START + 5, SILENT_FRAME) == SILENT_FRAME


def test_a_room_has_noise_which_is_never_the_same_in_two_frames() -> None:
    playback = Playback(START)
    back = returned(Echo(noise_db=-40.0), playback, 2.0)
    assert 20 * np.log10(level(back) / 32768) == pytest.approx(-40, abs=0.5)
    frames = {back[at : at + FRAME_BYTES] for at in range(0, len(back), FRAME_BYTES)}
    assert len(frames) == len(back) // FRAME_BYTES
    assert returned(Echo(noise_db=-40.0), playback, 2.0) == back
