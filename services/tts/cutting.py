"""Cuts speech into the pieces that travel: they end where words end, so that it is known to the word what was heard."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from services.tts.captions import Captions
from shared.audio import RATE, bytes_of
from shared.espeak import Speech
from shared.loudness import last_audible

LONGEST = bytes_of(500)
"""Hardly a word is longer."""
_GUESSED = bytes_of(250)
"""So much travels together where nobody knows where words end."""
_SHORTEST = bytes_of(100)
"""Words that are over sooner share a piece with the next one: each piece may cost a mark."""
_AHEAD_MS = 500
"""A voice that is so far ahead of the caller's ear has the time to say a word to its end."""
_KEEP = bytes_of(20)


@dataclass(frozen=True, slots=True)
class Cut:
    """A stretch of audio and the words that end with it; no words: a word is longer than the stretch."""

    mulaw: bytes
    text: str


def split(mulaw: bytes, longest: int = LONGEST) -> list[bytes]:
    """`mulaw` in equal parts of `longest` bytes at most."""
    count = max(1, -(-len(mulaw) // longest))
    edges = [len(mulaw) * index // count for index in range(count + 1)]
    return [mulaw[start:end] for start, end in pairwise(edges)]


def _spread(mulaw: bytes, text: str) -> list[Cut]:
    """`text` comes with the end of its audio."""
    if len(mulaw) <= LONGEST:
        return [Cut(mulaw, text)]
    *parts, final = split(mulaw)
    return [*(Cut(part, "") for part in parts), Cut(final, text)]


def _far_enough(ends: Iterable[int], begin: int) -> Iterator[int]:
    """Those of the word ends (bytes, growing) at which a piece may end."""
    for end in ends:
        if end - begin >= _SHORTEST:
            yield end
            begin = end


def _without_tail(mulaw: bytes) -> bytes:
    last = last_audible(mulaw)
    return b"" if last is None else mulaw[: last + _KEEP]


def _word_starts(speech: Speech, text: str, length: int) -> Iterator[tuple[int, int]]:
    """Where each word but the first begins, and so the one before it ends: (byte of the audio, index in the text).

    espeak tells several words for one written number, and places inside it: only the starts of written words count.
    """
    last_index, last_byte = 0, 0
    for word in speech.words:
        index, byte = word.position, bytes_of(word.start_ms)
        if last_index < index < len(text) and last_byte < byte < length and text[index - 1].isspace():
            yield byte, index
            last_index, last_byte = index, byte


def cut(speech: Speech, text: str) -> list[Cut]:
    """The pieces of `text` as `speech` says it; their texts concatenated are `text`. None if it has no sound."""
    mulaw = _without_tail(speech.mulaw)
    if not mulaw:
        return []
    starts = dict(_word_starts(speech, text, len(mulaw)))
    edges = [0, *_far_enough(starts, 0), len(mulaw)]
    indices = [0, *(starts[byte] for byte in edges[1:-1]), len(text)]
    return [
        piece
        for (begin, end), (first, last) in zip(pairwise(edges), pairwise(indices), strict=True)
        for piece in _spread(mulaw[begin:end], text[first:last])
    ]


class Cutter:
    """Cuts the audio of one reply while it arrives, at the word ends that its captions know of by then.

    Audio within a word waits for the word's end as long as the caller has enough to hear; else only if it is shorter
    than a piece should be. `now` is in seconds on any clock.
    """

    def __init__(self, captions: Captions) -> None:
        """Nothing has arrived yet."""
        self.captions = captions
        self._held = b""
        self._cut_at = 0
        """Where the held audio begins in the reply, in bytes."""
        self._word_ended = 0
        self._silent_at = 0.0
        """When the caller has heard all that was cut, if nothing is late."""

    def feed(self, mulaw: bytes, now: float) -> list[Cut]:
        """The pieces that are complete with the next audio of the reply; its times go to the captions before."""
        begin = self._cut_at
        pieces = self._cut(mulaw, ahead=self._silent_at - now >= _AHEAD_MS / 1000)
        if pieces:
            self._silent_at = max(self._silent_at, now) + (self._cut_at - begin) / RATE
        return pieces

    def _cut(self, mulaw: bytes, *, ahead: bool) -> list[Cut]:
        self._held += mulaw
        arrived = self._cut_at + len(self._held)
        if self.captions.estimating:
            self._word_ended = arrived
            parts = split(self._held, _GUESSED)
            return [piece for part in parts for piece in self._to(self._cut_at + len(part))]
        begin = self._cut_at
        known = sorted([byte for byte in map(bytes_of, self.captions.word_ends()) if begin < byte <= arrived])
        ends = list(_far_enough(known, self._word_ended))
        if self.captions.all_said(arrived * 1000 / RATE):
            if ends and ends[-1] == known[-1] and arrived - ends[-1] < _SHORTEST:
                # Only the end of its sound.
                ends.pop()
            ends.append(arrived)
        pieces = [piece for end in ends for piece in self._to(end)]
        self._word_ended = self._cut_at if ends else self._word_ended
        if len(self._held) >= (LONGEST if ahead else _SHORTEST):
            pieces += _spread(self._held, "")
            self._cut_at, self._held = arrived, b""
        return pieces

    def rest(self) -> bytes:
        """The audio that is still held back: less than 500 ms."""
        return self._held

    def _to(self, end: int) -> list[Cut]:
        """The held audio up to the byte `end` of the reply, with the words that are over there."""
        size = end - self._cut_at
        mulaw, self._held, self._cut_at = self._held[:size], self._held[size:], end
        return _spread(mulaw, self.captions.until(end * 1000 / RATE)) if mulaw else []
