"""The caller's turn while it grows: utterances heard by stt, put together. Pure; times are Unix seconds."""

from dataclasses import dataclass, field

from services.llm import wording
from shared.messages import SpeechFinal, SpeechPartial, SpeechStarted, SpeechStopped, SpeechSustained

SpeechEvent = SpeechStarted | SpeechSustained | SpeechPartial | SpeechFinal | SpeechStopped


@dataclass(slots=True, eq=False)
class Utterance:
    """What is known of one utterance."""

    number: int
    began_at: float
    finals: list[str] = field(default_factory=list)
    partial: str = ""
    stable: bool = False
    """The interim came twice."""
    likely_over: bool = False
    """The provider thinks that this is all."""
    ended_at: float | None = None
    """The last speech sample; None while the caller speaks."""
    stopped_at: float = 0.0
    """When the stop became known."""
    decided_at: float = 0.0
    """When the newest text was published."""
    complete: bool = False
    turn_over: bool = False
    """The provider says so."""
    sustained: bool = False
    """It lasted long enough to pause a reply, and has not done so yet."""

    @property
    def text(self) -> str:
        """All that was understood."""
        return " ".join(filter(None, (part.strip() for part in (*self.finals, self.partial))))

    @property
    def void(self) -> bool:
        """A cough: it is over and no words were in it."""
        return self.complete and self.ended_at is not None and not wording.has_content(self.text)

    def end(self, at: float) -> None:
        """No more sound is to come; does nothing when that is known."""
        if self.ended_at is None:
            self.ended_at = self.stopped_at = at

    def hear(self, event: SpeechEvent, now: float) -> None:
        """More became known."""
        if isinstance(event, SpeechSustained):
            self.sustained = True
        elif isinstance(event, SpeechPartial) and not self.complete:
            self.stable, self.likely_over = event.text == self.partial, event.likely_over
            self.partial = event.text
            self.decided_at = event.at
        elif isinstance(event, SpeechFinal):
            self.finals.append(event.text)
            self.partial = ""
            self.decided_at = event.at
            self.complete, self.turn_over = event.complete, event.turn_over
            if event.turn_over:
                self.end(now)
        elif isinstance(event, SpeechStopped):
            # The clock of the worker that heard it may run ahead.
            self.ended_at, self.stopped_at = min(event.ended_at, now), now


class CallerTurn:
    """The utterances since the last committed turn, in order."""

    def __init__(self) -> None:
        """Nobody has spoken."""
        self._utterances: dict[tuple[int, int], Utterance] = {}
        """By (lease epoch of stt, utterance)."""
        self._committed = (-1, 0)

    @property
    def utterances(self) -> list[Utterance]:
        """The oldest first."""
        return list(self._utterances.values())

    @property
    def speaking(self) -> bool:
        """Whether the caller makes speech sounds now."""
        return any(utterance.ended_at is None for utterance in self._utterances.values())

    def hear(self, event: SpeechEvent, now: float) -> bool:
        """Something new about the caller's speech; False when it belongs to a turn that was committed."""
        if (event.epoch, event.utterance) <= self._committed:
            return False
        self._end_earlier(event, now)
        key = (event.epoch, event.utterance)
        if key not in self._utterances:
            began_at = event.began_at if isinstance(event, SpeechStarted) and event.began_at else now
            self._utterances[key] = Utterance(event.utterance, min(began_at, now))
        self._utterances[key].hear(event, now)
        self._utterances = {key: heard for key, heard in self._utterances.items() if not heard.void}
        return True

    def _end_earlier(self, event: SpeechEvent, now: float) -> None:
        for (epoch, number), earlier in self._utterances.items():
            if epoch < event.epoch:
                # Nothing more is to come from the worker that heard it.
                earlier.partial, earlier.complete = "", True
                earlier.end(now)
            elif number < event.utterance:
                # Its stop was lost on the way.
                earlier.end(now)

    def clear(self) -> None:
        """The turn is committed or dropped; whatever comes of its utterances means nothing."""
        if self._utterances:
            self._committed = max(self._utterances)
        self._utterances.clear()
