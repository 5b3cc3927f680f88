"""Which words the carrier really played: each reply's audio as it was published, found again in the track. Pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from shared.audio import RATE
from shared.phrases import normalize
from simulator.playback import Playback
from simulator.rehearsal.hearing import Rendered, find
from simulator.tap import Piece

_BEFORE_S = 0.5
"""The tap may hear of a piece later than the carrier."""
_BEHIND_S = 3.0
"""A piece that was paused is played so much later at most."""


class Word(NamedTuple):
    """A word that was heard; times in seconds of the playback's clock."""

    start: float
    end: float
    text: str


def _replies(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """The pieces of each reply of each lease: a worker that took over speaks on in the same generation."""
    replies: dict[tuple[int, int], list[Piece]] = {}
    for piece in pieces:
        replies.setdefault((piece.frame.generation, piece.frame.epoch), []).append(piece)
    return list(replies.values())


def _spans(rendered: Rendered) -> Iterator[tuple[int, int, str]]:
    """Where each word lies in the reply, in bytes; those of one piece share it."""
    began, before = 0, 0
    for end, text in rendered.ends:
        words = normalize(text).split()[before:]
        if not words:
            continue
        length = (end - began) / len(words)
        for number, word in enumerate(words):
            yield round(began + number * length), round(began + (number + 1) * length), word
        began, before = end, before + len(words)


def _words(reply: Sequence[Piece], playback: Playback) -> Iterator[Word]:
    rendered = Rendered.of(piece.frame for piece in reply)
    start = max(playback.started, reply[0].came - _BEFORE_S)
    end = min(playback.ends, reply[-1].came + len(rendered.audio) / RATE + _BEHIND_S)
    if end <= start:
        return
    spans = list(_spans(rendered))
    for stretch in find(playback.between(start, end), rendered.audio):
        for begin, finish, word in spans:
            # A word of which one half was played was heard.
            if stretch.start <= (begin + finish) // 2 < stretch.end:
                at = start + (stretch.track + begin - stretch.start) / RATE
                yield Word(at, at + (finish - begin) / RATE, word)


def heard(pieces: Sequence[Piece], playback: Playback) -> list[Word]:
    """The words, in the order in which they were heard.

    Two workers may have published the same sound: what was played once was heard once.
    """
    found = sorted(word for reply in _replies(pieces) for word in _words(reply, playback))
    kept: list[Word] = []
    for word in found:
        if not kept or word.start >= (kept[-1].start + kept[-1].end) / 2:
            kept.append(word)
    return kept
