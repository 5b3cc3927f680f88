"""Which of many known phrases a sound may be: bounds on the score of simulator.ear, for all of them at once. Pure.

A score is the mean of a phrase's two worst pieces, so the two worst of some pieces bound it from above: piece after
piece, those are struck off that cannot reach the threshold any more.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from shared.mel import BANDS, Array

Indices = npt.NDArray[np.intp]

PIECE = 16
"""Frames (160 ms, about a syllable) that are aligned on their own."""
SLACK = 4
"""Frames by which a piece may lie beside its place: espeak-ng's timing varies by some 10 ms."""
_LAGS = 2 * SLACK + 1
_ROUNDING = 1e-4
"""More than what sums in another order differ by."""


class Shortlist:
    """Spectrograms [frames, BANDS] of phrases, known by their index."""

    def __init__(self, phrases: Sequence[Array]) -> None:
        """Copies them."""
        gap = np.zeros((SLACK, BANDS), dtype=np.float32)
        room = np.zeros((PIECE, BANDS), dtype=np.float32)
        flat = np.vstack([gap, *(part for phrase in phrases for part in (phrase, gap)), room])
        self._lengths = np.array([len(phrase) for phrase in phrases], dtype=np.intp)
        self._starts = SLACK + np.concatenate([[0], np.cumsum(self._lengths + SLACK)[:-1]]).astype(np.intp)
        self._flat = flat
        self._windows = _windows(flat)
        self._sums = _sums(flat)

    def __len__(self) -> int:
        return len(self._lengths)

    def beginning(self, audio: Array, threshold: float) -> list[int]:
        """The phrases longer than `audio` that may begin with it best, of those that do so by `threshold`."""
        length = len(audio)
        left = np.flatnonzero(self._lengths > length)
        centred = _windows(audio - audio.mean(axis=0))

        def cosines(at: int, of: Indices) -> Array:
            starts, piece = self._starts[of], centred[at]
            means = ((self._sums[starts + length] - self._sums[starts]) / length).astype(np.float32)
            frames = (starts + at - SLACK)[:, None] + np.arange(_LAGS)
            others = self._windows[frames].reshape(len(of), _LAGS, PIECE, BANDS) - means[:, None, None, :]
            others = others.reshape(len(of), _LAGS, -1)
            return _best(piece[None], others)

        left, bounds = _strike_off(left, _places(length), cosines, threshold)
        # All pieces were looked at: the bounds are the scores.
        return [int(index) for index in left[bounds >= bounds.max(initial=0) - _ROUNDING]]

    def whole(self, audio: Array, lengths: tuple[int, int], threshold: float) -> list[int]:
        """The phrases, of so many frames at least and at most, that may lie in `audio` and score `threshold`."""
        fit = (self._lengths >= lengths[0]) & (self._lengths <= lengths[1])
        # No bounds are known for a phrase of less than a piece, nor for one with silence behind the audio.
        bounded = fit & (self._lengths >= PIECE) & (self._lengths <= len(audio))
        left, others = np.flatnonzero(bounded), list(np.flatnonzero(fit & ~bounded))
        if len(left):
            said = self._centred(left)
            places, means, clear = self._place(left, said, audio)
            others += list(left[~clear])
            rows = np.flatnonzero(clear)
            cosines = _Cosines(said, self._lengths[left], audio, places, means)
            rows, _ = _strike_off(rows, _places(said.shape[1]), cosines, threshold)
            others += list(left[rows])
        return sorted(int(index) for index in others)

    def _centred(self, of: Indices) -> Array:
        """The phrases free of their means [phrases, frames of the longest, BANDS], 0 behind their ends."""
        lengths, starts = self._lengths[of], self._starts[of]
        frames = np.arange(lengths.max())
        inside = frames < lengths[:, None]
        means = (self._sums[starts + lengths] - self._sums[starts]) / lengths[:, None]
        said = self._flat[np.where(inside, starts[:, None] + frames, 0)] - means.astype(np.float32)[:, None, :]
        return np.where(inside[:, :, None], said, np.float32(0))

    def _place(self, of: Indices, said: Array, audio: Array) -> tuple[Indices, Array, npt.NDArray[np.bool_]]:
        """Where in `audio` each phrase correlates best, the mean of what lies there, and whether no other place is
        nearly as good."""
        count, longest, _ = said.shape
        lengths = self._lengths[of, None]
        places = np.arange(len(audio) - int(lengths.min()) + 1)
        behind = np.vstack([audio, np.zeros((longest, BANDS), dtype=np.float32)])
        there = sliding_window_view(behind.reshape(-1), longest * BANDS)[::BANDS][: len(places)]
        dots = said.reshape(count, -1) @ there.T
        ends = np.minimum(places + lengths, len(audio))
        sums, squares = _sums(audio), np.append(0.0, np.cumsum((audio.astype(np.float64) ** 2).sum(axis=1)))
        means = (sums[ends] - sums[places]) / lengths[:, :, None]
        energy = squares[ends] - squares[places] - lengths * (means**2).sum(axis=2)
        norms = np.sqrt(np.maximum(energy, 1e-6)) * _norm((said.reshape(count, -1) ** 2).sum(axis=1))[:, None]
        fits = np.where(places + lengths <= len(audio), dots / norms, -np.inf)
        best = fits.argmax(axis=1)
        clear = (fits >= fits.max(axis=1, keepdims=True) - _ROUNDING).sum(axis=1) == 1
        return best, means[np.arange(count), best].astype(np.float32), clear


class _Cosines:
    """Of one piece of each phrase with the audio around its place, the best one."""

    def __init__(self, said: Array, lengths: Indices, audio: Array, places: Indices, means: Array) -> None:
        gap = np.zeros((SLACK, BANDS), dtype=np.float32)
        self._around = _windows(np.vstack([gap, audio, gap]))
        self._said, self._lengths, self._places, self._means = said, lengths, places, means

    def __call__(self, at: int, rows: Indices) -> Array:
        last = self._lengths[rows] - PIECE
        begin = np.minimum(at, last)
        pieces = self._said[rows[:, None], begin[:, None] + np.arange(PIECE)].reshape(len(rows), -1)
        frames = (begin + self._places[rows])[:, None] + np.arange(_LAGS)
        others = self._around[frames].reshape(len(rows), _LAGS, PIECE, BANDS) - self._means[rows, None, None, :]
        cosines = _best(pieces, others.reshape(len(rows), _LAGS, -1))
        # The last piece of a short phrase counts once.
        over = (last <= (at - 1) // PIECE * PIECE) & (at > 0)
        return np.where(over, np.float32(1), cosines)


def _best(pieces: Array, others: Array) -> Array:
    """The best cosine of each piece [phrases or 1, values] with its `others` [phrases, lags, values]."""
    dots = (others @ pieces[:, :, None])[:, :, 0]
    squares = np.einsum("nld,nld->nl", others, others) * np.einsum("nd,nd->n", pieces, pieces)[:, None]
    return np.asarray((dots / _norm(squares)).max(axis=1))


def _windows(frames: Array) -> Array:
    """All PIECE frames in a row, [frames - PIECE + 1, PIECE * BANDS]."""
    return sliding_window_view(frames.reshape(-1), PIECE * BANDS)[::BANDS]


def _sums(frames: Array) -> npt.NDArray[np.float64]:
    """The sums of all frames before each one, and before the end."""
    return np.vstack([np.zeros((1, BANDS)), np.cumsum(frames, axis=0, dtype=np.float64)])


def _norm(squares: Array) -> Array:
    return np.asarray(np.maximum(np.sqrt(np.maximum(squares, 0)), 1e-6))


def _places(length: int) -> list[int]:
    """Where the pieces of `length` frames begin."""
    return [*range(0, length - PIECE, PIECE), length - PIECE]


def _strike_off(
    left: Indices, places: list[int], cosines: Callable[[int, Indices], Array], threshold: float
) -> tuple[Indices, Array]:
    """Those of `left` that may reach `threshold`, and the bounds of their scores."""
    worst = np.ones((len(left), 2), dtype=np.float32)
    for at in places:
        if not len(left):
            break
        worst = np.sort(np.column_stack([worst, cosines(at, left)]), axis=1)[:, :2]
        stays = np.maximum(worst.mean(axis=1), 0) >= threshold - _ROUNDING
        left, worst = left[stays], worst[stays]
    return left, worst.mean(axis=1)
