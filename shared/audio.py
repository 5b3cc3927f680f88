"""Telephone audio: 8 kHz μ-law, one byte a sample."""

import audioop

RATE = 8000
"""Samples (and μ-law bytes) a second."""
FRAME_MS = 20
FRAME_BYTES = RATE * FRAME_MS // 1000
SILENCE = b"\xff"
"""One μ-law sample of silence."""

_FAINT_PEAK = 56
"""-55 dBFS."""


def duration_ms(mulaw: bytes) -> int:
    """How long `mulaw` plays."""
    return len(mulaw) * 1000 // RATE


def bytes_of(ms: float) -> int:
    """How many μ-law bytes play for `ms`."""
    return int(ms * RATE / 1000)


def peak(code: int) -> int:
    """How far from 0 the sample (16 bit) of a μ-law code is."""
    return audioop.max(audioop.ulaw2lin(bytes([code]), 2), 2)


_FAINT = bytes(code for code in range(256) if peak(code) <= _FAINT_PEAK)
"""The μ-law codes of which faint sound is made."""


def is_faint(mulaw: bytes) -> bool:
    """Whether no sample is above -55 dBFS: nobody speaks so softly."""
    return not mulaw.translate(None, _FAINT)


def sound_of(mulaw: bytes) -> tuple[int, int]:
    """The bytes of `mulaw`, which is not faint as a whole, between which its sound lies."""
    return len(mulaw) - len(mulaw.lstrip(_FAINT)), len(mulaw.rstrip(_FAINT))
