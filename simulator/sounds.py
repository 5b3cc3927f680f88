"""What a telephone picks up beside words: coughs, hums, noise, hold music. Pure; the same seed gives the same sound.

The voice is a source and a filter: Rosenberg's glottal pulses (A. Rosenberg, "Effect of Glottal Pulse Shape on the
Quality of Natural Vowels", JASA 49, 1971) through resonances in a row (D. Klatt, "Software for a cascade/parallel
formant synthesizer", JASA 67, 1980). All sounds are 8 kHz μ-law.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shared.audio import RATE, bytes_of
from shared.pcm import encode

Samples = npt.NDArray[np.float64]
Formants = Sequence[tuple[float, float]]
"""(frequency, bandwidth) of each resonance in Hz."""

_FULL_SCALE = 32767
_HALF_OPEN_MOUTH: Formants = ((500, 60), (1400, 90), (2300, 120), (3300, 200))
_CLOSED_MOUTH: Formants = ((350, 100), (1200, 80), (2300, 100), (3300, 150))
_WINDPIPE: Formants = ((900, 300), (1700, 400), (2800, 600))
"""Of the blast with which a cough begins: no voice, most of its energy between 0.5 and 2 kHz."""
_VOICE_PEAK = 0.37
"""As loud as a caller's words."""
_MUSIC_PEAK = 0.25

_BLAST_S = 0.05
_RATTLE_HZ = 13
_CHORDS = ((0, 4, 7), (-3, 0, 4), (-7, -3, 0), (-5, -1, 2))
"""C, A minor, F, G in semitones from the middle C: the loop that everybody has waited to."""
_MIDDLE_C_HZ = 261.63
_BEAT_S = 0.4
_BEATS = 4
"""In each chord."""


def _shaped(sound: Samples, formants: Formants) -> Samples:
    """`sound` through its resonances, peak 1."""
    size = 1 << (len(sound) + RATE // 10).bit_length()
    hertz = np.fft.rfftfreq(size, 1 / RATE)
    response = np.ones(len(hertz), dtype=np.complex128)
    for frequency, bandwidth in formants:
        response *= frequency**2 / (frequency**2 - hertz**2 + 1j * hertz * bandwidth)
    shaped = np.fft.irfft(np.fft.rfft(sound, size) * response, size)[: len(sound)]
    return np.asarray(shaped / np.abs(shaped).max())


def _glottis(hertz: Samples) -> Samples:
    """What the vocal folds let through at the pitch `hertz`, sample by sample: slow to open, quick to close."""
    phase = np.cumsum(hertz / RATE) % 1
    flow = np.where(phase < 0.6, phase / 0.6, (1 - phase) / 0.4) ** 2
    return np.diff(flow, prepend=0.0)


def _faded(sound: Samples, attack_ms: float, release_ms: float) -> Samples:
    """`sound` without a click at either end."""
    place = np.arange(len(sound))
    rising = np.minimum(1, place / bytes_of(attack_ms))
    return np.asarray(sound * rising * np.minimum(1, place[::-1] / bytes_of(release_ms)))


def _mulaw(sound: Samples, peak: float) -> bytes:
    return encode((sound / np.abs(sound).max() * peak * _FULL_SCALE).astype(np.int16))


def cough(ms: int = 300, seed: int = 1) -> bytes:
    """A blast of air (50 ms), then a breathy voice that dies away; at least 20 ms. `seed` varies air and pitch."""
    random = np.random.default_rng(seed)
    time = np.arange(bytes_of(ms)) / RATE
    length = len(time) / RATE
    air = random.standard_normal(len(time))
    pitch = random.uniform(110, 150) * (1.1 - 0.4 * time / length)
    blast = _faded(_shaped(air, _WINDPIPE), 3, 3) * np.exp(-time / (_BLAST_S / 2))
    since = np.maximum(0, time - min(0.7 * _BLAST_S, length / 4))
    voice = _shaped(_glottis(pitch), _HALF_OPEN_MOUTH) + 0.08 * _shaped(air, _HALF_OPEN_MOUTH)
    voice *= np.minimum(1, since / 0.015) * np.exp(-since / (0.5 * length))
    return _mulaw(_faded(0.8 * blast + voice / np.abs(voice).max(), 1, 30), _VOICE_PEAK)


def throat(ms: int = 450) -> bytes:
    """Clearing the throat: a low voice that rattles; at least 20 ms."""
    time = np.arange(bytes_of(ms)) / RATE
    voice = _shaped(_glottis(np.linspace(115, 95, len(time))), _HALF_OPEN_MOUTH)
    rattling = voice * (1 - 0.4 * np.sin(2 * np.pi * _RATTLE_HZ * time) ** 2)
    air = np.random.default_rng(1).standard_normal(len(time))
    return _mulaw(_faded(rattling + 0.08 * _shaped(air, _HALF_OPEN_MOUTH), 25, 40), _VOICE_PEAK)


def hum(ms: int) -> bytes:
    """A voice with its mouth closed ("mm"), falling a little; at least 20 ms."""
    pitch = np.linspace(120, 100, bytes_of(ms))
    return _mulaw(_faded(_shaped(_glottis(pitch), _CLOSED_MOUTH), 30, 40), _VOICE_PEAK)


def noise(ms: int, seed: int = 1, loud: float = 0.1) -> bytes:
    """White noise; `loud` is its RMS as a share of full scale."""
    samples = np.random.default_rng(seed).standard_normal(bytes_of(ms)) * loud * _FULL_SCALE
    return encode(np.clip(samples, -_FULL_SCALE, _FULL_SCALE).astype(np.int16))


def hold_music(seconds: float, seed: int = 1) -> bytes:
    """Soft chords and a plucked melody over them, a note on each beat; `seed` makes the melody."""
    random = np.random.default_rng(seed)
    track = np.zeros(bytes_of(seconds * 1000))
    beat = bytes_of(_BEAT_S * 1000)
    for count, start in enumerate(range(0, len(track), beat)):
        chord = _CHORDS[count // _BEATS % len(_CHORDS)]
        if count % _BEATS == 0:
            for tone in chord:
                _add(track, start, _note(tone, _BEATS * _BEAT_S, 0.35, 1.5))
        _add(track, start, _note(int(random.choice(chord)) + 12, 2 * _BEAT_S, 1.0, 0.25))
    return _mulaw(track, _MUSIC_PEAK)


def _note(tone: int, seconds: float, loud: float, decay_s: float) -> Samples:
    """`tone` semitones from the middle C, with three overtones."""
    time = np.arange(bytes_of(seconds * 1000)) / RATE
    angle = 2 * np.pi * _MIDDLE_C_HZ * 2 ** (tone / 12) * time
    sound = sum((np.sin(angle * overtone) / overtone**2 for overtone in (1, 2, 3, 4)), np.zeros(len(time)))
    return _faded(loud * sound * np.exp(-time / decay_s), 10, 20)


def _add(track: Samples, start: int, sound: Samples) -> None:
    room = track[start : start + len(sound)]
    room += sound[: len(room)]
