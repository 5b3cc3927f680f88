"""How alike two stretches of telephone audio sound, whatever their loudness and the colour of the line. Pure."""

import math
from functools import cache

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from shared.audio import RATE, decode

Array = npt.NDArray[np.float32]

HOP_MS = 10
HOP = RATE * HOP_MS // 1000
FRAME = 256
"""Samples behind one row: 32 ms smear away where between two rows a sound begins."""
BANDS = 20
_LOWEST_HZ, _HIGHEST_HZ = 200.0, 3500.0
_LEAST = 1e-9
"""Energy of a band, full scale = 1, that stands for silence."""
SILENT = math.log(_LEAST)
_RANGE = 6.0
"""Only what is at most e^-6 (26 dB) below the loudest band of a stretch counts: beneath it is the line's noise."""


@cache
def _filters() -> Array:
    """Triangular bands, equally wide on the mel scale (O'Shaughnessy 1987: 2595 log10(1 + f / 700))."""
    lowest, highest = (2595 * math.log10(1 + hertz / 700) for hertz in (_LOWEST_HZ, _HIGHEST_HZ))
    mel = np.linspace(lowest, highest, BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    frequencies = np.arange(FRAME // 2 + 1) * RATE / FRAME
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    return np.asarray(np.maximum(0, np.minimum(rising, falling)).T, dtype=np.float32)


@cache
def _hanning() -> Array:
    return np.hanning(FRAME).astype(np.float32)


def spectrogram(mulaw: bytes) -> Array:
    """Log band energies [rows, BANDS], one row for each 10 ms that has its 32 ms of audio."""
    if len(mulaw) < FRAME:
        return np.empty((0, BANDS), dtype=np.float32)
    samples = decode(mulaw).astype(np.float32) / 32768
    frames = sliding_window_view(samples, FRAME)[::HOP] * _hanning()
    power = np.abs(np.fft.rfft(frames)).astype(np.float32) ** 2 / FRAME
    return np.log(np.maximum(power @ _filters(), np.float32(_LEAST)))


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
