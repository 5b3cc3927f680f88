"""Did a call go as the script expects? Pure: every judgement gives its reason, or none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.messages import TranscriptAgent, TranscriptCaller
from shared.phrases import normalize
from simulator.rehearsal.hearing import LOST_MS, Hearing
from simulator.rehearsal.screenplay import Expect, Words

_CLEAR_S = 0.05
"""Audio that was on its way when the carrier was cleared plays no longer than this."""
_SAME_WORD = 1.0
CUT_WORDS = 1
"""A reply that goes on repeats the word that was cut, no more."""


@dataclass(frozen=True, slots=True)
class Sound:
    """The last that the caller let hear, in seconds of the phone's clock."""

    began: float
    ended: float
    voiced_at: float
    """When the agent's `min_speech_ms` of voice had left."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What came of an action."""

    said: TranscriptCaller | None = None
    reply: TranscriptAgent | None = None
    hearing: Hearing | None = None
    """Of `reply`."""
    clears: Sequence[float] = ()
    """When the carrier was cleared, in the whole call."""
    sound: Sound | None = None
    audible_at: float | None = None
    """When the agent was first heard since the action began."""
    ended: str | None = None
    """`event.ended`'s reason; None while the call goes on."""
    line_ended: str = ""
    """How the phone says that the call ended."""


def reasons(expect: Expect, scene: Scene, *, any_answer: bool = False) -> list[str]:
    """All that is not as expected, in sentences. `any_answer`: the agent's words are its own choice."""
    found = [*_said(expect, scene), *_silent(expect, scene), *_ended(expect, scene)]
    if not expect.of_reply:
        return found
    if scene.reply is None:
        return [*found, "the agent said nothing"]
    found += [*_heard(expect, scene.reply, any_answer=any_answer)]
    if expect.interrupted is not None and scene.reply.interrupted != expect.interrupted:
        state = "interrupted" if scene.reply.interrupted else "not interrupted"
        found.append(f"the reply {scene.reply.text!r} was {state}")
    if scene.hearing is None or scene.hearing.began is None:
        return [*found, f"nothing was heard of the reply {scene.reply.text!r}"]
    return [
        *found,
        *true_to_the_ear(scene.reply, scene.hearing, scene.clears),
        *_resumes(expect, scene.hearing, scene.clears),
        *_times(expect, scene, scene.hearing.began),
    ]


def _said(expect: Expect, scene: Scene) -> Iterator[str]:
    if expect.said is None:
        return
    if scene.said is None:
        yield f"nothing was understood, not {_either(expect.said)}"
    elif normalize(scene.said.text) not in map(normalize, expect.said):
        yield f"{scene.said.text!r} was understood, not {_either(expect.said)}"


def _either(texts: Sequence[str]) -> str:
    return " or ".join(map(repr, texts))


def _silent(expect: Expect, scene: Scene) -> Iterator[str]:
    if expect.silent and scene.audible_at is not None:
        yield "the agent was heard"


def _ended(expect: Expect, scene: Scene) -> Iterator[str]:
    if expect.ended is None:
        return
    if scene.ended is None:
        yield "the call goes on"
    elif scene.ended != expect.ended:
        yield f"the call ended with {scene.ended}, not {expect.ended}"
    elif not scene.line_ended:
        yield f"the call ended with {scene.ended}, but the line is still open"


def _heard(expect: Expect, reply: TranscriptAgent, *, any_answer: bool) -> Iterator[str]:
    text = normalize(reply.text)
    if not text:
        yield "not a word of the reply was heard"
    elif any_answer or expect.heard is None:
        return
    elif isinstance(expect.heard, str):
        if text != normalize(expect.heard):
            yield f"{reply.text!r} was heard, not {expect.heard!r}"
    elif not _fits(expect.heard, text):
        wanted = (
            f"starts with {expect.heard.starts!r}" if expect.heard.starts else f"contains {expect.heard.contains!r}"
        )
        yield f"{reply.text!r} was heard, nothing that {wanted}"


def _fits(words: Words, text: str) -> bool:
    if words.starts:
        return f"{text} ".startswith(f"{normalize(words.starts)} ")
    return f" {normalize(words.contains)} " in f" {text} "


def true_to_the_ear(reply: TranscriptAgent, hearing: Hearing, clears: Sequence[float]) -> Iterator[str]:
    """Is what the platform says of a reply what the carrier played of it, to the word?"""
    told, rendered = normalize(reply.text).split(), hearing.rendered.words
    if rendered[: len(told)] != told:
        yield f"the platform says {reply.text!r}, but the voice said {' '.join(rendered)!r}"
    elif reply.interrupted and not hearing.surely - _SAME_WORD <= len(told) <= hearing.words + _SAME_WORD:
        yield f"the platform says that {len(told)} words were heard, the carrier played {hearing.words:.1f}"
    elif not reply.interrupted and not hearing.complete:
        yield f"the reply was not played to its end, only {hearing.words:.1f} of {len(rendered)} words"
    if hearing.lost_ms > LOST_MS:
        yield f"{hearing.lost_ms:.0f} ms of the reply were never played"
    if reply.interrupted and not _stopped(hearing, clears):
        yield "the platform says that the reply was interrupted, but the carrier went on with it"


def _stopped(hearing: Hearing, clears: Sequence[float]) -> bool:
    """The carrier was cleared within the reply, and nothing of it was played after that."""
    began, ended = hearing.began, hearing.ended
    if began is None or ended is None or hearing.complete:
        return False
    # A reply that was cut while nothing more was queued ends a little before its clear.
    return any(began <= clear and ended <= clear + _CLEAR_S for clear in clears)


def _resumes(expect: Expect, hearing: Hearing, clears: Sequence[float]) -> Iterator[str]:
    if not expect.resumes or hearing.began is None:
        return
    within = [clear for clear in clears if clear >= hearing.began]
    if not within:
        yield "the reply never paused"
    elif hearing.resumed(within[0]) is None:
        yield "the reply did not go on after it paused"
    elif not hearing.complete:
        yield "the reply went on, but not to its end"
    elif hearing.repeated_words > CUT_WORDS:
        yield f"{hearing.repeated_words} words were said again where the reply went on"


def _times(expect: Expect, scene: Scene, began: float) -> Iterator[str]:
    if scene.sound is None:
        if expect.within_ms or expect.after_ms or expect.stops_within_ms:
            yield "the caller has made no sound that times could be counted from"
        return
    latency_ms = (began - scene.sound.ended) * 1000
    if expect.within_ms is not None and not 0 <= latency_ms <= expect.within_ms:
        yield f"the reply came after {latency_ms:.0f} ms, not within {expect.within_ms}"
    if expect.after_ms is not None and latency_ms < expect.after_ms:
        yield f"the reply came after {latency_ms:.0f} ms, not after {expect.after_ms}"
    if expect.stops_within_ms is not None:
        clear = next((clear for clear in scene.clears if clear >= scene.sound.began), None)
        stop_ms = None if clear is None else (clear - scene.sound.voiced_at) * 1000
        if stop_ms is None:
            yield "the agent was not stopped"
        elif stop_ms > expect.stops_within_ms:
            yield f"the agent was stopped after {stop_ms:.0f} ms, not within {expect.stops_within_ms}"
