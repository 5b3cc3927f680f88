"""When a turn is probably over, so that its reply may be prepared. Pure."""

from collections.abc import Sequence

from services.llm import wording
from services.llm.actions import Speculate
from services.llm.caller_turn import Utterance

_MAX_TRIES = 3
"""A caller who goes on again and again costs no more."""


class Speculation:
    """The guesses within one turn."""

    def __init__(self) -> None:
        """None was made."""
        self._text = ""
        self._tries = 0

    def guess(self, utterances: Sequence[Utterance], text: str) -> list[Speculate]:
        """Whether the turn `utterances`, saying `text`, is likely to end here: all text is in, or does not change."""
        if not text or text == self._text or self._tries >= _MAX_TRIES or wording.is_unfinished(text):
            return []
        *earlier, last = utterances
        speaking = any(utterance.ended_at is None for utterance in utterances)
        settled = last.likely_over or (not speaking and (last.complete or last.stable))
        if not settled or not all(utterance.complete for utterance in earlier):
            return []
        self._text, self._tries = text, self._tries + 1
        return [Speculate(text)]

    def forget(self) -> None:
        """The turn is committed."""
        self._text, self._tries = "", 0
