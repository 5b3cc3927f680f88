"""Samples: numbers in place of μ-law, for what computes with sound, and the ways from one to the other."""

import audioop
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from shared.audio import RATE, SILENCE
from shared.loudness import QUIET

Pcm = npt.NDArray[np.int16]
_LOUD = ~np.isin(np.arange(256), list(QUIET))


class BadAudio(ValueError):
    """The file holds no audio that can be read."""


def decode(mulaw: bytes) -> Pcm:
    """μ-law → signed 16-bit samples at 8 kHz."""
    return np.frombuffer(audioop.ulaw2lin(mulaw, 2), dtype=np.int16)


def encode(pcm: Pcm, rate: int = RATE) -> bytes:
    """Signed 16-bit mono samples at `rate` Hz → 8 kHz μ-law."""
    if rate != RATE:
        pcm = np.asarray(soxr.resample(pcm, rate, RATE), dtype=np.int16)
    return audioop.lin2ulaw(pcm.tobytes(), 2)


def audible(mulaw: bytes | bytearray) -> npt.NDArray[np.bool_]:
    """For each sample of `mulaw`, whether it can be heard."""
    return _LOUD[np.frombuffer(mulaw, dtype=np.uint8)]


def read_wav(path: Path) -> bytes:
    """A WAV file (16-bit PCM, any rate, mono or stereo) as 8 kHz μ-law. Raises BadAudio."""
    try:
        with wave.open(str(path), "rb") as file:
            if file.getsampwidth() != 2:
                raise BadAudio(f"{path}: 16-bit PCM expected, found {8 * file.getsampwidth()}-bit")
            channels, rate = file.getnchannels(), file.getframerate()
            pcm = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)
    except (OSError, EOFError, wave.Error) as error:
        raise BadAudio(f"{path}: {error or 'not a WAV file'}") from error
    mono = pcm.reshape(-1, channels).mean(axis=1).astype(np.int16)
    return encode(mono, rate)


def write_wav(path: Path, left: bytes, right: bytes) -> None:
    """Two μ-law tracks as a stereo WAV; the shorter one is filled with silence."""
    length = max(len(left), len(right))
    tracks = [decode(track.ljust(length, SILENCE)) for track in (left, right)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.stack(tracks, axis=1).tobytes())
