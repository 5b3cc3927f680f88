"""What came of a turn, and of a call. Pure."""

from dataclasses import dataclass, field

PENDING = "the call ended before its answer"


@dataclass(slots=True)
class Turn:
    """What came of one line. Times are on the phone's clock, in s."""

    said: str
    began: float
    response_ms: float | None = None
    """By ear; None: there was no answer."""
    clear_ms: float | None = None
    """From the first audible sample of a line over an answer to the carrier's orders to fall silent."""
    reason: str = ""
    """Why it was wrong, in words."""

    @property
    def pending(self) -> bool:
        """Its answer is still listened to."""
        return self.reason == PENDING


@dataclass(slots=True)
class CallResult:
    """What came of one call."""

    number: int
    turns: list[Turn] = field(default_factory=list)
    up_at: float | None = None
    """When the greeting was over, on the phone's clock; None: the call was not connected."""
    ended_at: float | None = None
    """None: it lasts."""
    refused: bool = False
    """The call was not connected."""
    sentences: list[str] = field(default_factory=list)
    """What the carrier was told to say instead of an agent."""
    failure: str = ""
    """Why the call did not come to its end."""
    underruns: int = 0

    def judged(self, since: float) -> int:
        """How many lines were said from `since` on whose answers are over."""
        return sum(turn.began >= since and not turn.pending for turn in self.turns)
