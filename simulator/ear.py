"""Recognises known speech in telephone audio by its spectrogram: the ear of the simulated caller.

It compares sounds, not texts: a phrase is known when it was rendered before with the same voice.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from shared import espeak
from shared.audio import SILENCE, bytes_of
from shared.mel import BANDS, FRAME, HOP, HOP_MS, Array, energies
from simulator.clips import Clips
from simulator.shortlist import PIECE, SLACK, Shortlist

_LOWEST_HZ, _HIGHEST_HZ = 150.0, 3600.0
_FLOOR = 3e-7
"""Energy of a band, full scale = 1, below which it counts as silence: about the noise of μ-law."""
_LENGTH_TOLERANCE_MS = 120
_BEGINNING_MS = 400
"""Less sound fits the beginning of too many phrases."""

SAME = 0.88
"""The score above which every word is the same: measured, at least 0.93 for the same sentence said
again, at most 0.84 when one word differs."""


@dataclass(frozen=True, slots=True)
class Match:
    """How well, and where, a clip was found in longer audio."""

    score: float
    """0 (nothing alike) to 1 (the same); above SAME every word is the same."""
    at_ms: int
    """Where the clip begins in the audio."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A known phrase that was recognised."""

    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a sound says."""

    heard: Heard
    whole: bool
    """It is a whole phrase, not the beginning of one."""


def spectrogram(mulaw: bytes) -> Array:
    """Log band energies of `mulaw`, one row for each 10 ms; silence is 0."""
    return np.log(np.maximum(energies(mulaw.ljust(FRAME, SILENCE), _LOWEST_HZ, _HIGHEST_HZ), _FLOOR) / _FLOOR)


_spectrogram = lru_cache(256)(spectrogram)
"""The same clip is looked for again and again, and many clips in the same audio. Not to be changed."""


def _place(said: Array, audio: Array) -> int:
    """The frame of `audio` at which `said` correlates best, each band free of its mean."""
    length = len(said)
    centred = said - said.mean(axis=0)
    size = 1 << (length + len(audio) - 1).bit_length()
    product = np.fft.rfft(audio, size, axis=0) * np.conj(np.fft.rfft(centred, size, axis=0))
    dot = np.fft.irfft(product.sum(axis=1), size)[: len(audio) - length + 1]
    sums = np.cumsum(np.vstack([np.zeros((1, BANDS)), audio]), axis=0)
    squares = np.cumsum(np.concatenate([[0.0], (audio.astype(np.float64) ** 2).sum(axis=1)]))
    means = (sums[length:] - sums[:-length]) / length
    energy = squares[length:] - squares[:-length] - length * (means**2).sum(axis=1)
    norm = np.sqrt(np.maximum(energy, 1e-6)) * max(float(np.linalg.norm(centred)), 1e-6)
    return int((dot / norm).argmax())


def _by_pieces(said: Array, audio: Array, place: int) -> Array:
    """For each piece of `said`, its best cosine with `audio` near where it should be."""
    length = len(said)
    mean = audio[place : place + length].mean(axis=0)
    pad = np.zeros((SLACK, BANDS), dtype=np.float32)
    around = np.vstack([pad, audio, pad])[place : place + length + 2 * SLACK] - mean
    centred = said - said.mean(axis=0)
    size = min(PIECE, length)
    starts = np.append(np.arange(0, length - size, size), length - size)
    frames = starts[:, None] + np.arange(size)
    pieces = centred[frames].reshape(len(starts), -1)
    lags = frames[:, None] + np.arange(2 * SLACK + 1)[:, None]
    others = around[lags].reshape(len(starts), 2 * SLACK + 1, -1)
    norms = np.linalg.norm(pieces, axis=1)[:, None] * np.linalg.norm(others, axis=2)
    cosines = np.einsum("pd,pld->pl", pieces, others) / np.maximum(norms, 1e-6)
    return np.asarray(cosines.max(axis=1))


def _score(said: Array, audio: Array, place: int) -> float:
    # A wrong word spoils two pieces and would hide in an average over the whole phrase.
    worst = np.sort(_by_pieces(said, audio, place))[:2].mean()
    return float(np.clip(worst, 0, 1))


def _match(said: Array, audio: Array) -> Match:
    if len(audio) < len(said):
        audio = np.vstack([audio, np.zeros((len(said) - len(audio), BANDS), dtype=np.float32)])
    place = _place(said, audio)
    return Match(_score(said, audio, place), place * HOP_MS)


def similarity(said: bytes, audio: bytes) -> Match:
    """Where in `audio` the shorter clip `said` fits best, and how well. Both are 8 kHz μ-law."""
    return _match(_spectrogram(said), _spectrogram(audio))


class PhraseBook:
    """Phrases whose sound is known."""

    def __init__(self, threshold: float = SAME) -> None:
        """Sounds that match no phrase by at least `threshold` are not recognised."""
        self._threshold = threshold
        self._phrases: list[tuple[str, Array]] = []
        self._known: set[tuple[str, str, int]] = set()
        self._clips = Clips()
        self._shortlist = Shortlist([])

    def learn(self, text: str, voice: str = "en-us", words_per_minute: int = 165) -> None:
        """Remember how `text` sounds. Raises espeak.SpeechError for an unknown voice."""
        key = (text, voice, words_per_minute)
        if key not in self._known:
            speech = espeak.trim(espeak.speak(text, voice, words_per_minute).mulaw)
            self._known.add(key)
            self._phrases.append((text, spectrogram(speech)))

    def learn_clip(self, text: str, mulaw: bytes) -> None:
        """Remember the very bytes of `mulaw`, which says `text`: nothing else sounds like it.

        Raises ValueError when hardly anything can be heard.
        """
        self._clips.teach(text, mulaw)

    def recall(self, mulaw: bytes) -> Recalled | None:
        """The clip that `mulaw` is byte by byte, from its beginning on, or None; no sounds are compared."""
        found = self._clips.find(mulaw)
        return None if found is None else Recalled(Heard(found.text, 1.0), found.whole)

    def recognise(self, mulaw: bytes) -> Heard | None:
        """The known phrase that `mulaw` says from its beginning to its end, or None."""
        if (recalled := self.recall(mulaw)) is not None and recalled.whole:
            return recalled.heard
        trimmed = espeak.trim(mulaw)
        if len(trimmed) < FRAME:
            return None
        margin = bytes_of(5 * HOP_MS)
        audio = spectrogram(trimmed.rjust(len(trimmed) + margin, SILENCE).ljust(len(trimmed) + 2 * margin, SILENCE))
        frames = len(trimmed) // HOP
        tolerance = max(_LENGTH_TOLERANCE_MS // HOP_MS, frames // 20)
        best: Heard | None = None
        for index in self._listed().whole(audio, (frames - tolerance, frames + tolerance), self._threshold):
            text, said = self._phrases[index]
            score = _match(said, audio).score
            if score >= self._threshold and (best is None or score > best.score):
                best = Heard(text, score)
        return best

    def recognise_beginning(self, mulaw: bytes) -> Heard | None:
        """What `mulaw` says so far of a known phrase, in whole words, or None."""
        if (recalled := self.recall(mulaw)) is not None and not recalled.whole:
            return recalled.heard if recalled.heard.text else None
        trimmed = espeak.trim(mulaw)
        if len(trimmed) < bytes_of(_BEGINNING_MS):
            return None
        audio = spectrogram(trimmed)
        best: Heard | None = None
        for index in self._listed().beginning(audio, self._threshold):
            text, said = self._phrases[index]
            # Both are trimmed: where they begin need not be searched.
            score = _score(audio, said, 0)
            if score >= self._threshold and (best is None or score > best.score):
                spoken = text[: len(text) * len(audio) // len(said) + 1].rpartition(" ")[0]
                best = Heard(spoken, score)
        return best if best is not None and best.text else None

    def _listed(self) -> Shortlist:
        """All phrases that are known by now."""
        if len(self._shortlist) < len(self._phrases):
            self._shortlist = Shortlist([said for _, said in self._phrases])
        return self._shortlist
