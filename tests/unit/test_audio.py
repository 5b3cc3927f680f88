"""μ-law, WAV files and the offline voice."""

import wave
from pathlib import Path

import numpy as np
import pytest

from shared import audio, espeak
from shared.pcm import BadAudio, Pcm, decode, encode, read_wav, write_wav


def tone(rate: int, seconds: float, hertz: float = 440) -> Pcm:
    samples = np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate) * 8000
    return samples.astype(np.int16)


def written(path: Path, pcm: Pcm, rate: int, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(pcm.tobytes())
    return path


def test_mulaw_keeps_the_sound() -> None:
    pcm = tone(8000, 0.5)
    back = decode(encode(pcm)).astype(float)
    assert np.corrcoef(pcm, back)[0, 1] > 0.999


@pytest.mark.parametrize("rate", [16000, 22050, 44100])
def test_resampling_keeps_the_pitch(rate: int) -> None:
    pcm = decode(encode(tone(rate, 1.0), rate)).astype(float)
    assert abs(len(pcm) - 8000) <= 8
    assert np.argmax(np.abs(np.fft.rfft(pcm))) * 8000 / len(pcm) == pytest.approx(440, abs=2)


def test_what_lies_above_the_telephone_band_is_removed_not_folded_back() -> None:
    pcm = decode(encode(tone(22050, 0.5, hertz=6000), 22050))
    assert np.abs(pcm[400:-400]).max() < 50


def test_a_wav_file_of_any_rate_is_read(tmp_path: Path) -> None:
    stereo = np.repeat(tone(16000, 1.0), 2)
    mulaw = read_wav(written(tmp_path / "a.wav", stereo, 16000, channels=2))
    assert audio.duration_ms(mulaw) == 1000


def test_what_is_no_wav_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("hello")
    eight_bit = written(tmp_path / "8bit.wav", tone(8000, 0.1), 8000, width=1)
    for path in (tmp_path / "text.wav", tmp_path / "none.wav", eight_bit):
        with pytest.raises(BadAudio, match=path.name):
            read_wav(path)


def test_two_tracks_are_written_side_by_side(tmp_path: Path) -> None:
    write_wav(tmp_path / "new" / "call.wav", b"\x00" * 800, b"\x80" * 400)
    with wave.open(str(tmp_path / "new" / "call.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, 8000, 800)
        frames = np.frombuffer(file.readframes(800), dtype=np.int16).reshape(-1, 2)
    assert frames[0].tolist() == [-32124, 32124]
    assert frames[700].tolist() == [-32124, 0]


def test_espeak_says_where_its_words_are() -> None:
    text = "We are open, every day."
    speech = espeak.speak(text)
    assert 1000 < audio.duration_ms(speech.mulaw) < 4000
    assert [text[word.position :].split()[0] for word in speech.words] == ["We", "are", "open,", "every", "day."]
    starts = [word.start_ms for word in speech.words]
    assert starts == sorted(starts)
    assert starts[-1] < audio.duration_ms(speech.mulaw)


def test_espeak_trimmed_begins_and_ends_with_sound() -> None:
    mulaw = espeak.trim(espeak.speak("Hello").mulaw)
    loud = np.flatnonzero(np.abs(decode(mulaw)) > 200)
    assert loud[0] <= 160
    assert loud[-1] >= len(mulaw) - 161
    assert espeak.trim(audio.SILENCE * 800) == b""


def test_an_unknown_voice_is_named() -> None:
    with pytest.raises(espeak.SpeechError, match="nobody"):
        espeak.speak("x", voice="nobody")
