"""Whether what a caller says over the agent interrupts it. Pure."""

from collections.abc import Sequence

from services.llm import wording
from services.llm.caller_turn import Utterance
from shared.turn_taking import BargeInProfile

_STOP_KNOWN_S = 0.25
"""A voice is known to have fallen silent so much later, at most: until then it may have."""
_SOUND_FACTOR = 2
"""A sound that nobody understands must last longer than words: people cough and clear their throats."""


def listens(utterance: Utterance, profile: BargeInProfile) -> bool:
    """Whether the caller only shows that he listens, or clears his throat."""
    if wording.is_sound(utterance.text):
        needed_s = _SOUND_FACTOR * profile.confirm_ms / 1000
        return utterance.ended_at is not None and utterance.ended_at - utterance.began_at < needed_s
    return wording.consists_of(utterance.text, profile.backchannels)


def alarms(said: Sequence[Utterance], profile: BargeInProfile) -> bool:
    """Whether the reply must pause until it is known what `said` is: enough voice, or a stop word."""
    return any(utterance.sustained for utterance in said) or _stops(said, profile)


def _stops(said: Sequence[Utterance], profile: BargeInProfile) -> bool:
    return any(wording.contains(utterance.text, profile.stop_words) for utterance in said)


def confirmed_at(said: Sequence[Utterance], profile: BargeInProfile, *, audible: bool) -> float | None:
    """When `said` is an interruption if the caller goes on: 0 for at once, None for not with these words.

    A reply that is not `audible` yet gives way to any word. A stop word counts when the recogniser is sure of it.
    """
    if not said:
        return None
    count = sum(len(wording.words(utterance.text)) for utterance in said)
    sure = [utterance for utterance in said if utterance.finals or utterance.stable]
    if count >= (profile.min_words if audible else 1) or _stops(sure, profile):
        return 0.0
    confirm_s = profile.confirm_ms / 1000
    if any(u.ended_at is not None and u.ended_at - u.began_at >= confirm_s for u in said):
        return 0.0
    return min((u.began_at + confirm_s + _STOP_KNOWN_S for u in said if u.ended_at is None), default=None)
