"""The acoustic echo of a speakerphone: the agent's voice comes back with the caller's. Pure."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from shared.audio import FRAME_BYTES, FRAME_MS, RATE, SILENCE
from shared.pcm import decode, encode
from simulator.playback import Playback

_FULL_SCALE = 32767
_HISS = 4 * RATE
"""Samples after which the room's noise repeats itself."""


@cache
def _hiss() -> npt.NDArray[np.float64]:
    """Noise with an RMS of full scale."""
    return np.random.default_rng(1).standard_normal(_HISS) * _FULL_SCALE


def _factor(db: float) -> float:
    return float(10 ** (db / 20))


@dataclass(frozen=True, slots=True)
class Echo:
    """The way from the phone's loudspeaker back into its microphone."""

    delay_ms: int = 150
    gain_db: float = -12.0
    noise_db: float | None = None
    """RMS of the room's noise, 0 is full scale; None: there is none."""

    def frame(self, playback: Playback, now: float, said: bytes) -> bytes:
        """The frame that leaves at `now`: `said` (20 ms of μ-law), and what `playback` played `delay_ms` before."""
        # The microphone has filled the frame in the 20 ms before it leaves.
        heard = now - self.delay_ms / 1000
        # Both ends are rounded: there may be a sample too many.
        played = playback.between(heard - FRAME_MS / 1000, heard).rjust(FRAME_BYTES, SILENCE)[-FRAME_BYTES:]
        mixed = decode(said) + decode(played) * _factor(self.gain_db)
        if self.noise_db is not None:
            place = round((now - playback.started) * RATE) + np.arange(FRAME_BYTES)
            mixed += _hiss().take(place, mode="wrap") * _factor(self.noise_db)
        return encode(np.clip(mixed, -_FULL_SCALE, _FULL_SCALE).astype(np.int16))
