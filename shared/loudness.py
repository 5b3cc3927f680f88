"""Which samples of telephone audio can be heard."""

import numpy as np
import numpy.typing as npt

from shared.audio import decode

_AUDIBLE = 200
"""Samples (16 bit) louder than this; below is the noise of lines and of μ-law."""
_LOUD = np.abs(decode(bytes(range(256))).astype(np.int32)) > _AUDIBLE


def audible(mulaw: bytes | bytearray) -> npt.NDArray[np.bool_]:
    """For each sample of `mulaw`, whether it can be heard."""
    return _LOUD[np.frombuffer(mulaw, dtype=np.uint8)]


def first_audible(mulaw: bytes | bytearray) -> int | None:
    """The index of the first sample that can be heard."""
    loud = np.flatnonzero(audible(mulaw))
    return int(loud[0]) if len(loud) else None


def last_audible(mulaw: bytes | bytearray) -> int | None:
    """The index of the last sample that can be heard."""
    loud = np.flatnonzero(audible(mulaw))
    return int(loud[-1]) if len(loud) else None
