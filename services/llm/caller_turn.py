"""The caller's turn while it grows: utterances heard by stt, put together. Pure; times are Unix seconds."""

import math
from dataclasses import dataclass, field

from msgspec.structs import replace

from services.llm import wording
from services.llm.standing import Told
from shared.messages import SpeechFinal, SpeechPartial, SpeechStarted, SpeechStopped, SpeechSustained

SpeechEvent = SpeechStarted | SpeechSustained | SpeechPartial | SpeechFinal | SpeechStopped

_RETOLD_S = 5.0
"""Another stt worker has told by then what it heard in the audio that it was sent again."""
_REPLAY_MARGIN_MS = 300
"""The audio that is sent again begins so much before the utterance that it is sent for."""
_SAME_END_MS = 200
"""Two workers find the end of the same sound so far apart, at most."""


@dataclass(slots=True, eq=False)
class Utterance:
    """What is known of one utterance."""

    number: int
    began_at: float
    began_ms: int | None = None
    """Where it began on the caller's timeline."""
    line: int = 0
    """The line of that timeline."""
    behind_ms: int | None = None
    """What was said before that place is known from another stt worker; None: nothing is."""
    finals: list[str] = field(default_factory=list)
    partial: str = ""
    stable: bool = False
    """The interim came twice."""
    likely_over: bool = False
    """The provider thinks that this is all."""
    ended_at: float | None = None
    """The last speech sample; None while the caller speaks."""
    ended_ms: int | None = None
    """Where that is on the caller's timeline."""
    stopped_at: float = 0.0
    """When the stop became known."""
    decided_at: float = 0.0
    """When the newest text was published."""
    heard_at: float = 0.0
    """When it reached us."""
    complete: bool = False
    told: bool = False
    """It is complete because the recogniser said so."""
    turn_over: bool = False
    """The provider says so."""
    sustained: bool = False
    """It lasted long enough to pause a reply, and has not done so yet."""
    voice_ms: int = 0
    """So much of it is known to be the caller's voice."""

    @property
    def text(self) -> str:
        """All that was understood."""
        if not self.finals:
            return self.partial.strip()
        return " ".join(filter(None, (part.strip() for part in (*self.finals, self.partial))))

    @property
    def void(self) -> bool:
        """A cough: it is over and no words were in it."""
        return self.complete and self.ended_at is not None and not wording.has_content(self.text)

    @property
    def lasted_ms(self) -> float:
        """How long it is known to have lasted. As long as no end was told it may be over: only voice counts then."""
        if self.ended_at is None:
            return self.voice_ms
        if self.ended_ms is None or self.began_ms is None:
            return (self.ended_at - self.began_at) * 1000
        return self.ended_ms - self.began_ms

    def until_ms(self, now: float) -> int:
        """Where it ended on the caller's timeline, or has come to."""
        if self.ended_ms is not None or self.began_ms is None:
            return self.ended_ms or 0
        lasted_s = (now if self.ended_at is None else self.ended_at) - self.began_at
        return self.began_ms + round(lasted_s * 1000)

    def end(self, at: float) -> None:
        """No more sound is to come; does nothing when that is known."""
        if self.ended_at is None:
            self.ended_at = self.stopped_at = at

    def hear(self, event: SpeechEvent, now: float) -> None:
        """More became known."""
        if isinstance(event, SpeechSustained) and self.behind_ms is None:
            self.sustained = self.sustained or not self.voice_ms
            self.voice_ms = event.speech_ms
        elif isinstance(event, SpeechPartial) and not self.complete and self.behind_ms is None:
            self.stable, self.likely_over = event.text == self.partial, event.likely_over
            self.partial = event.text
            self.decided_at, self.heard_at = event.at, now
        elif isinstance(event, SpeechFinal):
            self.finals.append(self._unknown(event))
            self.partial = ""
            self.decided_at = event.at
            self.complete, self.told, self.turn_over = event.complete, event.complete, event.turn_over
            if event.turn_over:
                self.end(now)
        elif isinstance(event, SpeechStopped):
            # The clock of the worker that heard it may run ahead.
            self.ended_at, self.ended_ms, self.stopped_at = min(event.ended_at, now), event.t_ms, now
        if self.behind_ms is not None and self.ended_ms is not None and self.ended_ms <= self.behind_ms + _SAME_END_MS:
            # All of it is known.
            self.finals = []

    def _unknown(self, final: SpeechFinal) -> str:
        """The words that no other worker has told before."""
        behind_ms = self.behind_ms
        if behind_ms is None:
            return final.text
        if final.words:
            return " ".join(word.text for word in final.words if word.start_ms + word.end_ms >= 2 * behind_ms)
        return final.text if (self.began_ms or 0) + _REPLAY_MARGIN_MS >= behind_ms else ""


class CallerTurn:
    """The utterances since the last committed turn, in order."""

    def __init__(self, told: Told | None = None) -> None:
        """Nobody has spoken since `told`."""
        self.told = told or Told()
        self._utterances: dict[tuple[int, int], Utterance] = {}
        """By (lease epoch of stt, utterance)."""
        self._lost = (-1, 0.0)
        """The newest lease of stt that was lost, and when all that it heard was told by another."""

    @property
    def utterances(self) -> list[Utterance]:
        """The oldest first."""
        return list(self._utterances.values())

    @property
    def speaking(self) -> bool:
        """Whether the caller makes speech sounds now."""
        return any(utterance.ended_at is None for utterance in self._utterances.values())

    @property
    def retold(self) -> bool:
        """Whether words of an utterance may come again from another worker."""
        lost = self._lost[0]
        if lost < 0:
            return False
        return any(epoch <= lost and not heard.complete for (epoch, _), heard in self._utterances.items())

    @property
    def retold_by(self) -> float | None:
        """When they have come, or never will; None: nobody knows, or there are none."""
        return self._lost[1] if self.retold and math.isfinite(self._lost[1]) else None

    def hear(self, event: SpeechEvent, now: float) -> bool:
        """Something new about the caller's speech; False when it belongs to a turn that was committed."""
        key = (event.epoch, event.utterance)
        if key <= (self.told.epoch, self.told.utterance):
            return False
        behind_ms = self._known_until(event)
        self._end_earlier(event, now)
        if isinstance(event, SpeechStarted):
            # One that began before is told from its beginning once more.
            began_at = min(event.began_at or now, now)
            self._utterances[key] = Utterance(event.utterance, began_at, event.t_ms, event.line, behind_ms)
        elif key not in self._utterances:
            self._utterances[key] = Utterance(event.utterance, now)
        self._utterances[key].hear(event, now)
        self._utterances = {key: heard for key, heard in self._utterances.items() if not heard.void}
        return True

    def _known_until(self, event: SpeechEvent) -> int | None:
        """Up to where another worker has told the words of an utterance that begins; None: no word of it."""
        if not isinstance(event, SpeechStarted):
            return None
        told = [
            utterance.ended_ms or 0
            for (epoch, _), utterance in self._utterances.items()
            if epoch < event.epoch and utterance.told and utterance.line == event.line
        ]
        if self.told.epoch < event.epoch and self.told.line == event.line:
            told.append(self.told.until_ms)
        until_ms = max(told, default=0)
        return until_ms if event.t_ms < until_ms else None

    def _end_earlier(self, event: SpeechEvent, now: float) -> None:
        for (epoch, number), earlier in self._utterances.items():
            if epoch < event.epoch:
                # Nothing more is to come from the worker that heard it.
                earlier.partial, earlier.complete = "", True
                earlier.end(now)
            elif number < event.utterance:
                # Its stop was lost on the way.
                earlier.end(now)

    def lost(self, epoch: int) -> None:
        """The stt worker with this lease is gone: another one will tell again what it was about to tell."""
        if epoch > self._lost[0]:
            self._lost = (epoch, math.inf)

    def taken(self, epoch: int, now: float) -> None:
        """Another stt worker has the lease `epoch` and hears the audio again."""
        self._lost = (epoch - 1, now + _RETOLD_S)

    def settle(self, now: float) -> None:
        """Nobody tells it again: what was understood before is all."""
        for (epoch, _), utterance in self._utterances.items():
            if epoch <= self._lost[0]:
                utterance.complete = True
                utterance.end(now)
        self._utterances = {key: heard for key, heard in self._utterances.items() if not heard.void}

    def new_line(self) -> None:
        """The caller's timeline begins again."""
        self.told = replace(self.told, until_ms=0)

    def clear(self, now: float) -> None:
        """The turn is committed or dropped; whatever comes of its utterances means nothing."""
        if self._utterances:
            epoch, number = newest = max(self._utterances)
            line = self._utterances[newest].line
            until_ms = max(u.until_ms(now) for u in self._utterances.values() if u.line == line)
            self.told = Told(epoch=epoch, utterance=number, line=line, until_ms=until_ms)
        self._utterances.clear()
