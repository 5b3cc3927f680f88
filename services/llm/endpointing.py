"""When the caller's turn ends. Pure; times are Unix seconds."""

from collections.abc import Sequence

from services.llm import wording
from services.llm.caller_turn import Utterance
from shared.turn_taking import TurnProfile

_NOTICED_S = 0.5
"""A recogniser at work notices an end sooner."""


def due_at(utterances: Sequence[Utterance], text: str, profile: TurnProfile) -> float:
    """The end of the deliberate wait after the caller's last sound; `text` is what was understood."""
    ended_at = max(utterance.ended_at or 0.0 for utterance in utterances)
    stopped_at = max(utterance.stopped_at for utterance in utterances)
    wait_ms = profile.endpointing_ms
    if utterances[-1].turn_over:
        wait_ms = 0
    elif wording.is_unfinished(text):
        wait_ms = max(wait_ms, profile.patience_ms)
    return max(ended_at + wait_ms / 1000, stopped_at)


def told_at(utterances: Sequence[Utterance], profile: TurnProfile) -> float:
    """When the recogniser has told all its words, or never will; 0: it has."""
    timeout_s = profile.final_timeout_ms / 1000
    return max((_asked_at(u) + timeout_s for u in utterances if not u.complete), default=0.0)


def _asked_at(utterance: Utterance) -> float:
    """From when on the last words are waited for: from the end of the sound, or from the last sign that they come.

    An end that becomes known late was heard again, by a recogniser that got many seconds at once: it is not asked
    sooner than it can answer.
    """
    ended_at = utterance.ended_at or 0.0
    late = utterance.stopped_at - ended_at > _NOTICED_S
    return max(utterance.stopped_at if late else ended_at, utterance.heard_at)
