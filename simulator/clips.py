"""Sounds that are known byte by byte: a clip is found again by its first samples, however many there are. Pure.

A recogniser hears a clip in hops of its own, cut off anywhere, with digital silence where it was quiet. So clips and
speech are compared from their first to their last sample that can be heard, and all that cannot be heard is alike.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np

from shared.audio import SILENCE, bytes_of
from shared.pcm import audible

_CALM = np.where(audible(bytes(range(256))), np.arange(256), SILENCE[0]).astype(np.uint8).tobytes()
"""Translates samples that cannot be heard into silence."""
_SHORTEST = bytes_of(50)
"""Less sound is the beginning of anything."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a sound says of a clip."""

    text: str
    """In whole words; empty: none of them is over."""
    whole: bool
    """It is the whole clip, not its beginning."""


def calm(mulaw: bytes) -> bytes:
    """`mulaw` (8 kHz μ-law) from its first to its last sample that can be heard, silent where none can."""
    return mulaw.translate(_CALM).strip(SILENCE)


class Clips:
    """Clips and their texts, in the order of their bytes: what begins alike lies side by side."""

    def __init__(self) -> None:
        """None is known."""
        self._sounds: list[bytes] = []
        self._texts: list[str] = []
        self._common: dict[tuple[int, int], list[str]] = {}
        """The words with which all texts of a range begin."""

    def __len__(self) -> int:
        return len(self._sounds)

    def teach(self, text: str, mulaw: bytes) -> None:
        """`mulaw` (8 kHz μ-law) says `text`, and nothing else. Raises ValueError when hardly anything can be heard."""
        sound, text = calm(mulaw), " ".join(text.split())
        if len(sound) < _SHORTEST or not text:
            raise ValueError(f"no speech in the clip of {text!r}")
        at = bisect_left(self._sounds, sound)
        self._common.clear()
        if at < len(self._sounds) and self._sounds[at] == sound:
            self._texts[at] = text
        else:
            self._sounds.insert(at, sound)
            self._texts.insert(at, text)

    def find(self, mulaw: bytes) -> Found | None:
        """The clip that `mulaw` is, or of which it is the beginning, or None."""
        sound = calm(mulaw)
        first = bisect_left(self._sounds, sound)
        if len(sound) < _SHORTEST or first == len(self._sounds):
            return None
        clip, text = self._sounds[first], self._texts[first]
        if clip == sound:
            return Found(text, whole=True)
        if not clip.startswith(sound):
            return None
        spoken = text[: len(text) * len(sound) // len(clip) + 1].split(" ")[:-1]
        common = self._begin_with(first, sound)
        # Clips that go on differently may have their words at other places.
        return Found(" ".join(spoken[: len(common)]), whole=False)

    def _begin_with(self, first: int, sound: bytes) -> list[str]:
        """The words that all clips share which begin with `sound`; `first` is where they begin."""
        length = len(sound)
        end = bisect_right(self._sounds, sound, lo=first, key=lambda clip: clip[:length])
        if (words := self._common.get((first, end))) is None:
            # What the least and the greatest share, all between them share.
            least, greatest = (text.split(" ") for text in (min(self._texts[first:end]), max(self._texts[first:end])))
            same = [one == other for one, other in zip(least, greatest, strict=False)]
            words = self._common[first, end] = least[: same.index(False) if False in same else len(same)]
        return words
