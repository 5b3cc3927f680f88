"""Which samples of telephone audio can be heard."""

from shared.audio import peak

_AUDIBLE = 200
"""Samples (16 bit) louder than this; below is the noise of lines and of μ-law."""
QUIET = bytes(code for code in range(256) if peak(code) <= _AUDIBLE)
"""The μ-law codes that nobody hears."""


def first_audible(mulaw: bytes | bytearray) -> int | None:
    """The index of the first sample that can be heard."""
    quiet = len(mulaw) - len(mulaw.lstrip(QUIET))
    return quiet if quiet < len(mulaw) else None


def last_audible(mulaw: bytes | bytearray) -> int | None:
    """The index of the last sample that can be heard."""
    return len(mulaw.rstrip(QUIET)) - 1 if mulaw.strip(QUIET) else None
