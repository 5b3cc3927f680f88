"""Cuts spoken text into the pieces that travel: on word boundaries, some 200 ms each."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from shared.audio import bytes_of, decode
from shared.espeak import Speech

_LONGEST = bytes_of(250)
_SHORTEST = bytes_of(100)
_QUIET = 200
"""Samples below this are the silence after the last word."""
_KEEP = bytes_of(20)


@dataclass(frozen=True, slots=True)
class Cut:
    """A stretch of audio and the words that end in it."""

    mulaw: bytes
    text: str


def split(mulaw: bytes) -> list[bytes]:
    """`mulaw` in equal parts of 250 ms at most."""
    count = max(1, -(-len(mulaw) // _LONGEST))
    edges = [len(mulaw) * index // count for index in range(count + 1)]
    return [mulaw[start:end] for start, end in pairwise(edges)]


def _without_tail(mulaw: bytes) -> bytes:
    loud = np.flatnonzero(np.abs(decode(mulaw).astype(np.int32)) > _QUIET)
    return mulaw[: int(loud[-1]) + _KEEP] if len(loud) else b""


def _words(speech: Speech, text: str, length: int) -> Iterator[tuple[int, int]]:
    """Where each word begins: (index in the text, byte of the audio), both growing.

    espeak tells several words for one written number, and places inside it: only the starts of written words count.
    """
    last_index, last_byte = 0, 0
    for word in speech.words:
        index, byte = word.position, bytes_of(word.start_ms)
        if last_index < index < len(text) and last_byte < byte < length and text[index - 1].isspace():
            yield index, byte
            last_index, last_byte = index, byte


def cut(speech: Speech, text: str) -> list[Cut]:
    """The pieces of `text` as `speech` says it; their texts concatenated are `text`.

    A word longer than a piece is spread over several, and its text comes with the last of them. Nothing for
    a text without a sound.
    """
    mulaw = _without_tail(speech.mulaw)
    if not mulaw:
        return []
    starts = [(0, 0), *_words(speech, text, len(mulaw)), (len(text), len(mulaw))]
    cuts: list[Cut] = []
    begin = starts[0]
    for end, following in zip(starts[1:], [*starts[2:], None], strict=True):
        fits = following is not None and following[1] - begin[1] <= _LONGEST
        if following is not None and (fits or end[1] - begin[1] < _SHORTEST):
            continue
        *parts, final = split(mulaw[begin[1] : end[1]])
        cuts += [Cut(part, "") for part in parts]
        cuts.append(Cut(final, text[begin[0] : end[0]]))
        begin = end
    return cuts
