"""Whether what a caller says over the agent interrupts it. Pure."""

from collections.abc import Sequence

from services.llm import wording
from services.llm.caller_turn import Utterance
from shared.turn_taking import BargeInProfile

_SOUND_FACTOR = 2
"""A sound that nobody understands must last longer than words: people cough and clear their throats."""


def listens(utterance: Utterance, profile: BargeInProfile) -> bool:
    """Whether the caller only shows that he listens, or clears his throat."""
    if wording.is_sound(utterance.text):
        return utterance.ended_at is not None and utterance.lasted_ms < _SOUND_FACTOR * profile.confirm_ms
    return wording.consists_of(utterance.text, profile.backchannels)


def alarms(said: Sequence[Utterance], profile: BargeInProfile) -> bool:
    """Whether the reply must pause until it is known what `said` is: enough voice, or a stop word."""
    return any(utterance.sustained for utterance in said) or _stops(said, profile)


def _stops(said: Sequence[Utterance], profile: BargeInProfile) -> bool:
    return any(wording.contains(utterance.text, profile.stop_words) for utterance in said)


def confirms(said: Sequence[Utterance], profile: BargeInProfile, *, audible: bool) -> bool:
    """Whether `said` is an interruption: enough words, a stop word, or a word in a voice that lasts.

    A reply that is not `audible` yet gives way to any word. A stop word counts when the recogniser is sure of it.
    """
    if not said:
        return False
    count = sum(len(wording.words(utterance.text)) for utterance in said)
    sure = [utterance for utterance in said if utterance.finals or utterance.stable]
    if count >= (profile.min_words if audible else 1) or _stops(sure, profile):
        return True
    return any(utterance.lasted_ms >= profile.confirm_ms for utterance in said)
