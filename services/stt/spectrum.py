"""How alike two stretches of telephone audio sound, whatever their loudness and the colour of the line. Pure."""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from shared.mel import BANDS, Array, energies

_LOWEST_HZ, _HIGHEST_HZ = 200.0, 3500.0
_LEAST = 1e-9
"""Energy of a band, full scale = 1, that stands for silence."""
SILENT = math.log(_LEAST)
_RANGE = 6.0
"""Only what is at most e^-6 (26 dB) below the loudest band of a stretch counts: beneath it is the line's noise."""


def spectrogram(mulaw: bytes) -> Array:
    """Log band energies [rows, BANDS], one row for each 10 ms that has its 32 ms of audio."""
    return np.log(np.maximum(energies(mulaw, _LOWEST_HZ, _HIGHEST_HZ), np.float32(_LEAST)))


def silence(rows: int) -> Array:
    """The spectrogram of nothing."""
    return np.full((rows, BANDS), SILENT, dtype=np.float32)


def likeness(stretch: Array, audio: Array) -> Array:
    """For each place of `stretch` in the longer `audio`: from about 0 (nothing alike) to 1 (the same).

    The cosine of what is left of both when each band's mean is taken away: loudness and filters are in the mean.
    """
    places = sliding_window_view(audio, len(stretch), axis=0).transpose(0, 2, 1)
    said = np.maximum(stretch, stretch.max() - _RANGE)
    said = said - said.mean(axis=0)
    others = np.maximum(places, places.max(axis=(1, 2), keepdims=True) - _RANGE)
    others = others - others.mean(axis=1, keepdims=True)
    dots = np.einsum("pkb,kb->p", others, said)
    squares = np.einsum("pkb,pkb->p", others, others) * float((said**2).sum())
    return np.asarray(dots / np.sqrt(np.maximum(squares, 1e-6)), dtype=np.float32)
