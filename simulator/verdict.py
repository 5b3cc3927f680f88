"""Was a turn answered right? Judged by text, as the platform tells it, and by ear, from the audio itself."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from shared.phrases import normalize
from simulator import ear
from simulator.caller import Turn, Voice

_CLAUSE = re.compile(r"[^,.;:?!]+[,.;:?!]*")
AGENT = Voice()
"""The offline agent's voice: espeak-ng's defaults, as the tts stage uses them."""

Similarity = Callable[[bytes, bytes], float]
"""(clip, longer audio) → 0 to 1."""


def by_spectrogram(said: bytes, audio: bytes) -> float:
    """How alike the best place in `audio` sounds."""
    return ear.similarity(said, audio).score


@dataclass(frozen=True, slots=True)
class Expected:
    """The right answer to one line."""

    text: str = ""
    """Word for word; empty: any answer is right but `wrong`."""
    wrong: str = ""
    """The agent's words for "I did not understand"; never right."""
    sounds: tuple[bytes, ...] = ()
    """Clips (8 kHz μ-law) that must be heard in the answer; empty: not judged by ear."""
    dialogue: bool = True
    """The agent has a dialogue, so that the platform tells what it understood; the echo agent has none."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the platform says about a turn; None where nobody listened to the broker."""

    caller: str
    agent: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement on one turn."""

    right: bool
    reason: str = ""
    """One sentence; empty when right."""
    likeness: float | None = None
    """The least likeness of an expected clip, 0 to 1; None when not judged by ear."""


def clauses(text: str) -> list[str]:
    """`text` cut behind its punctuation marks."""
    return [clause for match in _CLAUSE.finditer(text) if normalize(clause := match[0].strip())]


def rendered(text: str, voice: Voice = AGENT) -> tuple[bytes, ...]:
    """How each clause of `text` sounds. Raises shared.espeak.SpeechError."""
    return tuple(clip for clause in clauses(text) if (clip := voice.render(clause)))


def _by_text(expected: Expected, told: Told) -> str:
    if not told.agent:
        return f"the agent said nothing to {told.caller!r}" if told.caller else "the caller was not understood at all"
    if expected.text and normalize(told.agent) != normalize(expected.text):
        return f"the caller was understood as {told.caller!r} and heard {told.agent!r}, not {expected.text!r}"
    if expected.wrong and normalize(told.agent) == normalize(expected.wrong):
        return f"the agent had no answer to {told.caller!r}" if told.caller else "the agent understood nothing"
    return ""


def judge(expected: Expected, turn: Turn, told: Told | None, similarity: Similarity = by_spectrogram) -> Verdict:
    """The verdict on `turn`."""
    if turn.reason:
        understood = (
            "" if told is None else f"; understood: {told.caller!r}" if told.caller else "; understood: nothing"
        )
        return Verdict(right=False, reason=turn.reason + understood)
    if told is not None and (reason := _by_text(expected, told)):
        return Verdict(right=False, reason=reason)
    if not expected.sounds:
        return Verdict(right=True)
    likeness = min(similarity(clip, turn.audio) for clip in expected.sounds)
    if likeness < ear.SAME:
        reason = f"what was heard does not sound like the right answer (likeness {likeness:.2f}, {ear.SAME} needed)"
        return Verdict(right=False, reason=reason, likeness=likeness)
    return Verdict(right=True, likeness=likeness)
