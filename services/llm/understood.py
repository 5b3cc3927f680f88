"""The caller's turn as it is understood at one moment. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.llm import barge_in, endpointing, wording
from services.llm.caller_turn import Utterance
from shared.turn_taking import BargeInProfile, TurnProfile

_WORDLESS_S = 5.0
"""Sound without words is as good as silence after so long."""


@dataclass(frozen=True, slots=True)
class Understood:
    """What follows from the utterances."""

    utterances: Sequence[Utterance] = ()
    """All since the last turn, the oldest first."""
    relevant: Sequence[Utterance] = ()
    """Those that say something to the agent."""
    text: str = ""
    """What these say."""
    speaking: bool = False
    """The caller makes speech sounds now."""
    nothing_said: bool = True
    """He said nothing to the agent, and no words are to come."""
    wordless_at: float = 0.0
    """When sound in which no words were understood is as good as silence."""

    def due_at(self, profile: TurnProfile) -> float:
        """The end of the deliberate wait after the caller's last sound."""
        return endpointing.due_at(self.utterances, self.text, profile)

    def told_at(self, profile: TurnProfile) -> float:
        """When the recogniser has told all its words, or never will; 0: it has."""
        return endpointing.told_at(self.utterances, profile)


_NOTHING = Understood()


def understood(utterances: Sequence[Utterance], agent: Sequence[str] | None, profile: BargeInProfile) -> Understood:
    """What the caller says, `agent` being the newest words of the agent while it speaks."""
    if not utterances:
        return _NOTHING
    relevant: list[Utterance] = []
    texts: list[str] = []
    for utterance in utterances:
        text = utterance.text
        if wording.has_content(text) and not (agent is not None and _ignored(utterance, text, agent, profile)):
            relevant.append(utterance)
            texts.append(text)
    wordless_at = [utterance.began_at + _WORDLESS_S for utterance in utterances if utterance.ended_at is None]
    speaking = bool(wordless_at)
    nothing_said = not speaking and not relevant and all(utterance.complete for utterance in utterances)
    return Understood(utterances, relevant, " ".join(texts), speaking, nothing_said, max(wordless_at, default=0.0))


def _ignored(utterance: Utterance, text: str, agent: Sequence[str], profile: BargeInProfile) -> bool:
    """While the agent speaks: what a listener says, or only utters, and the agent's words coming back.

    After the reply the same words are an answer: callers repeat what they agree to.
    """
    return wording.is_echo(text, agent) or barge_in.listens(utterance, profile)
