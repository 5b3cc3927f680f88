"""Telephone audio: 8 kHz μ-law, and the ways in and out of it."""

import audioop
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

RATE = 8000
"""Samples (and μ-law bytes) a second."""
FRAME_MS = 20
FRAME_BYTES = RATE * FRAME_MS // 1000
SILENCE = b"\xff"
"""One μ-law sample of silence."""

Pcm = npt.NDArray[np.int16]


_FAINT_PEAK = 56
"""-55 dBFS."""


class BadAudio(ValueError):
    """The file holds no audio that can be read."""


def duration_ms(mulaw: bytes) -> int:
    """How long `mulaw` plays."""
    return len(mulaw) * 1000 // RATE


def bytes_of(ms: float) -> int:
    """How many μ-law bytes play for `ms`."""
    return int(ms * RATE / 1000)


def decode(mulaw: bytes) -> Pcm:
    """μ-law → signed 16-bit samples at 8 kHz."""
    return np.frombuffer(audioop.ulaw2lin(mulaw, 2), dtype=np.int16)


_FAINT = bytes(code for code in range(256) if abs(int(decode(bytes([code]))[0])) <= _FAINT_PEAK)
"""The μ-law codes of which faint sound is made."""


def is_faint(mulaw: bytes) -> bool:
    """Whether no sample is above -55 dBFS: nobody speaks so softly."""
    return not mulaw.translate(None, _FAINT)


def sound_of(mulaw: bytes) -> tuple[int, int]:
    """The bytes of `mulaw`, which is not faint as a whole, between which its sound lies."""
    return len(mulaw) - len(mulaw.lstrip(_FAINT)), len(mulaw.rstrip(_FAINT))


def encode(pcm: Pcm, rate: int = RATE) -> bytes:
    """Signed 16-bit mono samples at `rate` Hz → 8 kHz μ-law."""
    if rate != RATE:
        pcm = np.asarray(soxr.resample(pcm, rate, RATE), dtype=np.int16)
    return audioop.lin2ulaw(pcm.tobytes(), 2)


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
