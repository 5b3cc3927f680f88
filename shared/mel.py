"""How much sound there is at which pitch: telephone audio in bands that are equally wide to the ear."""

import math
from functools import cache

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from shared.audio import RATE
from shared.pcm import decode

Array = npt.NDArray[np.float32]

HOP_MS = 10
HOP = RATE * HOP_MS // 1000
FRAME = 256
"""Samples behind one row: 32 ms smear away where between two rows a sound begins."""
BANDS = 20


@cache
def _filters(lowest_hz: float, highest_hz: float) -> Array:
    """Triangular bands, equally wide on the mel scale (O'Shaughnessy 1987: 2595 log10(1 + f / 700))."""
    lowest, highest = (2595 * math.log10(1 + hertz / 700) for hertz in (lowest_hz, highest_hz))
    mel = np.linspace(lowest, highest, BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    frequencies = np.arange(FRAME // 2 + 1) * RATE / FRAME
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    return np.asarray(np.maximum(0, np.minimum(rising, falling)).T, dtype=np.float32)


@cache
def _hanning() -> Array:
    return np.hanning(FRAME).astype(np.float32)


def energies(mulaw: bytes, lowest_hz: float, highest_hz: float) -> Array:
    """Band energies [rows, BANDS], full scale = 1: one row for each 10 ms that has its 32 ms of audio."""
    if len(mulaw) < FRAME:
        return np.empty((0, BANDS), dtype=np.float32)
    samples = decode(mulaw).astype(np.float32) / 32768
    frames = sliding_window_view(samples, FRAME)[::HOP] * _hanning()
    power = np.abs(np.fft.rfft(frames)).astype(np.float32) ** 2 / FRAME
    return np.asarray(power @ _filters(lowest_hz, highest_hz), dtype=np.float32)
