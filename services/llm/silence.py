"""How long the agent waits for a caller who says nothing, and what it does then. Pure; times are Unix seconds."""

from services.llm.actions import HangUp, Say
from shared.turn_taking import SilenceProfile

_INTERRUPTED_S = 3.0
"""The agent was interrupted and hears no words: it asks sooner than after a silence."""


class Silence:
    """The silence of one caller, broken by reprompts, a goodbye and the hang-up, in this order."""

    def __init__(self, broken: int = 0) -> None:
        """The call has not begun: nobody is waited for. `broken`: how often another worker broke the silence."""
        self._since: float | None = None
        self._interrupted = False
        self.broken = broken

    def begin(self, now: float, *, interrupted: bool = False) -> None:
        """From now on it is the caller who should speak; `interrupted`: he has begun to."""
        self._since, self._interrupted = now, interrupted

    def forget(self) -> None:
        """The caller has said something."""
        self._interrupted, self.broken = False, 0

    def ends_at(self, profile: SilenceProfile) -> float | None:
        """When the agent has waited long enough; None: never."""
        if not profile.reprompt_s or self._since is None:
            return None
        return self._since + (min(profile.reprompt_s, _INTERRUPTED_S) if self._interrupted else profile.reprompt_s)

    def break_(self, profile: SilenceProfile) -> Say | HangUp:
        """The next that the agent does."""
        self.broken += 1
        if self.broken <= len(profile.reprompts):
            return Say(profile.reprompts[self.broken - 1])
        return self.leave(profile)

    def leave(self, profile: SilenceProfile) -> Say | HangUp:
        """Say goodbye, once."""
        said = self.broken > len(profile.reprompts) + 1
        self.broken = len(profile.reprompts) + 2
        return HangUp("caller_silent") if said or not profile.goodbye.strip() else Say(profile.goodbye, farewell=True)
