"""Silero VAD v5 (github.com/snakers4/silero-vad) at 8 kHz, many windows at once.

The network is small and its windows are few: a runtime for ONNX spends more on the graph and on one convolution after
the other than on arithmetic. Here a layer is one product of matrices for all windows. What a run costs is mostly
reading the weights (0.9 MB): each further window costs an eighth of the first.

Shapes: B windows, 4 spectra of a window, 65 frequencies of a spectrum.
"""

import ctypes
from contextlib import suppress
from importlib.util import find_spec

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from services.stt.silero_weights import Array, load
from shared.pcm import Pcm

LARGEST_BATCH = 64
"""Windows in one run, about 1 ms: the event loop waits for it."""
CONTEXT = 32
WINDOW = 256
SHOWN = CONTEXT + WINDOW
STATE = 128
_FULL_SCALE = 32768
_SPECTRA, _FRAME, _HOP, _FREQUENCIES = 4, 128, 64, 65
_MIRRORED = 32
"""So many samples are appended, the last ones backwards, to fill the last frame."""
_CHANNELS, _NARROW = 128, 64
"""What the first and last, and the middle layers tell of a place."""
_TAPS = slice(3), slice(3), slice(1, 3), slice(1, 2)
"""The taps of each convolution that meet anything: the last two see one place only, the third with one behind it."""
_NOTHING: Array = np.zeros(_CHANNELS, dtype=np.float32)
"""A row of zeros, to which a layer's rows are compared: numpy does that faster than with a single 0."""
_SIGMOID: Array = np.repeat(np.array([0.5, 1], dtype=np.float32), [3 * STATE, STATE])
"""Slope of the gates' sigmoids as a tanh, and of the tanh that follows them."""
_LIFT: Array = 1 - _SIGMOID


class Silero:
    """The model; it holds no state of a call."""

    def __init__(self) -> None:
        """Reads the weights (some 5 ms)."""
        _one_thread()
        weights = load()
        self._transform = _transform(weights["stft.forward_basis_buffer"])
        layers = [(f"encoder.{layer}.reparam_conv", taps) for layer, taps in enumerate(_TAPS)]
        self._conv = [_matrix(weights[f"{layer}.weight"][:, :, taps]) for layer, taps in layers]
        self._bias = [weights[f"{layer}.bias"] for layer, _ in layers]
        self._lstm, self._lstm_bias = _gates(weights)
        self._speech = weights["decoder.decoder.2.weight"] * np.float32(0.5)
        self._speech_bias = weights["decoder.decoder.2.bias"] * np.float32(0.5)
        self._sound = np.zeros((LARGEST_BATCH, SHOWN + _MIRRORED), dtype=np.float32)
        self._frames = sliding_window_view(self._sound, _FRAME, axis=1)[:, ::_HOP]
        self._spectra = np.zeros((LARGEST_BATCH, 1 + _SPECTRA + 1, _FREQUENCIES), dtype=np.float32)
        """Before the first spectrum and behind the last there are zeros."""
        flat = self._spectra.reshape(LARGEST_BATCH, -1)
        self._threes = sliding_window_view(flat, 3 * _FREQUENCIES, axis=1)[:, ::_FREQUENCIES]
        self._seen = np.zeros((LARGEST_BATCH, _CHANNELS + STATE), dtype=np.float32)

    def __call__(self, windows: Pcm, states: Array) -> tuple[Array, Array]:
        """Probabilities [B] and new states [2, B, 128] from windows [B, 32 + 256] and states [2, B, 128]."""
        seen = self._seen[: len(windows)]
        seen[:, :_CHANNELS] = self._encode(windows)
        seen[:, _CHANNELS:] = states[0]
        gates = seen @ self._lstm
        gates += self._lstm_bias
        np.tanh(gates, out=gates)
        gates *= _SIGMOID
        gates += _LIFT
        after = np.empty_like(states)
        hidden, cell = after[0], after[1]
        np.multiply(gates[:, STATE : 2 * STATE], states[1], out=cell)
        cell += gates[:, :STATE] * gates[:, 3 * STATE :]
        np.tanh(cell, out=hidden)
        hidden *= gates[:, 2 * STATE : 3 * STATE]
        speech = np.tanh(np.maximum(hidden, _NOTHING) @ self._speech + self._speech_bias)
        return speech * np.float32(0.5) + np.float32(0.5), after

    def _encode(self, windows: Pcm) -> Array:
        """What the LSTM hears of each window: [B, 128]."""
        many = len(windows)
        sound = self._sound[:many]
        sound[:, :SHOWN] = windows
        sound[:, SHOWN:] = sound[:, SHOWN - 2 : SHOWN - 2 - _MIRRORED : -1]
        waves = self._frames[:many].reshape(-1, _FRAME) @ self._transform
        np.absolute(waves.view(np.complex64).reshape(many, _SPECTRA, -1), out=self._spectra[:many, 1:-1])
        spectra = self._threes[:many].reshape(many * _SPECTRA, -1)
        first = _rectified(spectra @ self._conv[0], self._bias[0]).reshape(many, -1)
        # Every other place, and nothing lies before the first: its first tap falls away.
        second = np.empty((many, 2, _NARROW), dtype=np.float32)
        np.matmul(first[:, : 2 * _CHANNELS], self._conv[1][_CHANNELS:], out=second[:, 0])
        np.matmul(first[:, _CHANNELS:], self._conv[1], out=second[:, 1])
        third = _rectified(second, self._bias[1]).reshape(many, -1) @ self._conv[2]
        fourth = _rectified(third, self._bias[2]) @ self._conv[3]
        return _rectified(fourth, self._bias[3])


def _rectified(values: Array, bias: Array) -> Array:
    values += bias
    return np.maximum(values, _NOTHING[: len(bias)], out=values)


def _transform(basis: Array) -> Array:
    """From the samples of a frame to the real and imaginary part of each frequency, side by side: [128, 2 * 65]."""
    parts = basis.reshape(2, _FREQUENCIES, _FRAME) / np.float32(_FULL_SCALE)
    return np.ascontiguousarray(parts.transpose(2, 1, 0)).reshape(_FRAME, -1)


def _matrix(weight: Array) -> Array:
    """[out, in, taps] as a matrix [taps * in, out]."""
    return np.ascontiguousarray(weight.transpose(2, 1, 0)).reshape(-1, weight.shape[0])


def _gates(weights: dict[str, Array]) -> tuple[Array, Array]:
    """The LSTM's matrix [128 + 128, 4 * 128] and bias: its gates are in, forget, out, and last what it takes in.

    The first three pass a sigmoid, which is 0.5 + 0.5 tanh(x / 2): halved here, one tanh does for all.
    """
    matrix = np.concatenate([weights["decoder.rnn.weight_ih"], weights["decoder.rnn.weight_hh"]], axis=1)
    bias = weights["decoder.rnn.bias_ih"] + weights["decoder.rnn.bias_hh"]
    order = np.r_[0 : 2 * STATE, 3 * STATE : 4 * STATE, 2 * STATE : 3 * STATE]
    half = _SIGMOID[:, np.newaxis]
    return np.ascontiguousarray((matrix[order] * half).T), bias[order] * _SIGMOID


def _one_thread() -> None:
    """Keep numpy's OpenBLAS, where numpy brings one, from waking other cores for matrices as small as these."""
    numpy_core = find_spec("numpy._core._multiarray_umath")
    if numpy_core is not None:
        with suppress(AttributeError):
            ctypes.CDLL(numpy_core.origin).scipy_openblas_set_num_threads64_(1)
