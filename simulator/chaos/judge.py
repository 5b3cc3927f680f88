"""Was a call right, under a fault: line by line, by what the carrier played. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from shared.audio import SILENCE
from shared.pcm import audible
from shared.phrases import normalize
from simulator import ear
from simulator.chaos.words import compare, contains
from simulator.rehearsal.hearing import find
from simulator.verdict import Expected, clauses

Outcome = Literal["right", "cut", "asked", "unanswered", "wrong", "twice"]
"""`right`: the right answer, once. `cut`: words of it were never heard. `asked`: the agent asked the caller to say it
again. `unanswered`: no word of an answer was heard. `wrong`: something else was said. `twice`: the right answer came
more than once."""
_TWICE = 0.6
"""Share of an answer's words that make it a second answer; fewer are repeated where a reply went on."""
_FEWEST = 3
_FOREIGN = 2
"""So many words of no answer are an unlucky cut."""

Count = Callable[[bytes, bytes], int]
"""(clip, longer audio) → how often it is heard there, 2 at most."""


def by_spectrogram(clip: bytes, audio: bytes) -> int:
    """How often the clip is heard: the best place, then the best of the rest."""
    first = ear.similarity(clip, audio)
    if first.score < ear.SAME:
        return 0
    start = first.at_ms * 8
    rest = audio[:start] + SILENCE * len(clip) + audio[start + len(clip) :]
    return 2 if ear.similarity(clip, rest).score >= ear.SAME else 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What was heard from the end of one line to the beginning of the next."""

    words: Sequence[str]
    """As far as they are known: those that were played of what was published."""
    audio: bytes
    """8 kHz μ-law."""
    audible: bool
    """Anything was heard at all."""


@dataclass(frozen=True, slots=True)
class LineVerdict:
    """The judgement on one answer."""

    outcome: Outcome
    lost: int = 0
    """Words of the right answer that were not heard."""
    repeated: int = 0
    """Words that were heard again where a reply went on."""
    reason: str = ""
    """One sentence; empty when it was right."""


def judge(
    expected: Expected, answer: Answer, asks: Sequence[str], *, hit: bool = False, count: Count = by_spectrogram
) -> LineVerdict:
    """The verdict on the answer to one line.

    `asks` are what the agent says when it was not answered or did not understand. `hit`: the fault fell into this
    line, and the answer may be put together from parts, so that only its words are judged and not how they sound.
    """
    words = normalize(expected.text).split()
    counts = [count(clip, answer.audio) for clip in expected.sounds] if answer.audible else [0] * len(expected.sounds)
    aligned = compare(words, answer.words)
    missing = [place for place in aligned.missing if not _by_ear(expected.text, place, counts)]
    again = compare(words, aligned.more)
    text = " ".join(answer.words)
    if any(contains(answer.words, normalize(ask).split()) for ask in asks):
        return LineVerdict("asked", 0, again.found, f"the agent asked: {text!r}")
    if len(again.more) > _FOREIGN:
        return LineVerdict("wrong", 0, again.found, f"heard {text!r}, not {expected.text!r}")
    if len(missing) == len(words):
        heard = "something else was heard" if answer.audible else "nothing was heard"
        return LineVerdict("unanswered", len(words), 0, heard)
    if again.found >= max(_FEWEST, _TWICE * len(words)) or _longest_twice(expected.sounds, counts):
        return LineVerdict("twice", len(missing), again.found, f"heard twice: {text!r}")
    if missing:
        gone = " ".join(words[place] for place in missing)
        return LineVerdict("cut", len(missing), again.found, f"{gone!r} was not heard of {expected.text!r}")
    if not hit and 0 in counts:
        return LineVerdict("wrong", 0, again.found, f"what was heard does not sound like {expected.text!r}")
    return LineVerdict("right", 0, again.found)


def _by_ear(text: str, place: int, counts: Sequence[int]) -> bool:
    """Whether the clause with the word at `place` was heard, whatever was published."""
    before = 0
    for clause, heard in zip(clauses(text), counts, strict=False):
        before += len(normalize(clause).split())
        if place < before:
            return heard > 0
    return False


def _longest_twice(clips: Sequence[bytes], counts: Sequence[int]) -> bool:
    # A short clause may sound like a part of another one.
    longest = max(range(len(clips)), key=lambda place: len(clips[place]), default=None)
    return longest is not None and counts[longest] > 1


def judge_echo(said: bytes, words: int, audio: bytes) -> LineVerdict:
    """The verdict on the echo of a line of `words` words: its very samples must be heard in `audio`, once."""
    loud = audible(said)
    times = np.zeros(len(said), dtype=np.int32)
    for stretch in find(audio, said):
        times[stretch.start : stretch.end] += 1
    sound = max(1, int(loud.sum()))
    heard, again = int((loud & (times > 0)).sum()) / sound, int((loud & (times > 1)).sum()) / sound
    lost, repeated = round(words * (1 - heard)), round(words * again)
    if again >= _TWICE:
        return LineVerdict("twice", lost, repeated, "the line came back twice")
    if lost >= words:
        return LineVerdict("unanswered", words, 0, "the line did not come back")
    if lost:
        return LineVerdict("cut", lost, repeated, f"{heard:.0%} of the line's sound came back")
    return LineVerdict("right", 0, repeated)
