"""Whose turn it is: the caller's turn ends by silence, the agent's by the caller's words.

Pure: events in, actions out, the time passed in. All times are Unix seconds.
"""

from dataclasses import dataclass, field

from services.llm.actions import Action, Commit, Interrupt
from shared.messages import Playback, SpeechFinal, SpeechPartial, SpeechStarted, SpeechStopped
from shared.turn_taking import TurnProfile

Event = SpeechStarted | SpeechPartial | SpeechFinal | SpeechStopped | Playback


@dataclass(slots=True)
class _Utterance:
    """What is known of one utterance of the turn."""

    finals: list[str] = field(default_factory=list)
    partial: str = ""
    ended_at: float | None = None
    """The last speech sample; None while the caller speaks."""
    stopped_at: float = 0.0
    """When the stop became known."""
    complete: bool = False

    @property
    def text(self) -> str:
        return " ".join(filter(None, (part.strip() for part in (*self.finals, self.partial))))

    @property
    def void(self) -> bool:
        """A cough: it is over and no words were in it."""
        return self.complete and self.ended_at is not None and not self.text

    def give_up(self, now: float) -> None:
        """No more is to come from the worker that heard it."""
        self.partial = ""
        self.complete = True
        self.ended_at = now if self.ended_at is None else self.ended_at


def _has_words(text: str) -> bool:
    return any(character.isalnum() for character in text)


class Turns:
    """The turn-taking of one call."""

    def __init__(self, profile: TurnProfile) -> None:
        """Nobody has said anything yet."""
        self._endpointing_s = profile.endpointing_ms / 1000
        self._final_timeout_s = profile.final_timeout_ms / 1000
        self._barge_in = profile.barge_in.enabled
        self._utterances: dict[tuple[int, int], _Utterance] = {}
        """The caller's turn so far, by (lease epoch of stt, utterance)."""
        self._committed = (-1, 0)
        self._reply: int | None = None
        self._free_at = 0.0
        """When the last reply was over."""

    def reply_began(self, generation: int) -> None:
        """The agent has begun to answer or to greet; the reply lives until its playback is over."""
        self._reply = generation

    def handle(self, event: Event, now: float) -> list[Action]:
        """What `event` leads to at once."""
        actions: list[Action] = []
        if isinstance(event, Playback):
            self._follow(event, now)
        elif (event.epoch, event.utterance) > self._committed:
            self._listen(event, now)
            if self._interrupts(event):
                self._reply = None
                actions.append(Interrupt())
        return actions + self.tick(now)

    def tick(self, now: float) -> list[Action]:
        """What the time alone leads to; to be called at `deadline`."""
        deadline = self.deadline
        if deadline is None or now < deadline:
            return []
        commit = Commit(self._text, self._ended_at, self._due_at)
        self._committed = max(self._utterances)
        self._utterances.clear()
        if self._reply is None:
            return [commit]
        # The words came before the reply did, as when a caller speaks before the greeting.
        self._reply = None
        return [Interrupt(), commit]

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do, if nothing else happens before."""
        held = self._reply is not None and not self._barge_in
        speaking = any(utterance.ended_at is None for utterance in self._utterances.values())
        if held or speaking or not _has_words(self._text):
            return None
        awaited = [u.ended_at or 0.0 for u in self._utterances.values() if not u.complete]
        return max(self._due_at, *(ended_at + self._final_timeout_s for ended_at in awaited), 0.0)

    @property
    def _text(self) -> str:
        return " ".join(filter(None, (utterance.text for utterance in self._utterances.values())))

    @property
    def _ended_at(self) -> float:
        return max(utterance.ended_at or 0.0 for utterance in self._utterances.values())

    @property
    def _due_at(self) -> float:
        stopped_at = max(utterance.stopped_at for utterance in self._utterances.values())
        return max(self._ended_at + self._endpointing_s, stopped_at, 0.0 if self._barge_in else self._free_at)

    def _follow(self, event: Playback, now: float) -> None:
        if event.generation == self._reply and event.state in ("finished", "cleared"):
            self._reply = None
            self._free_at = now

    def _listen(self, event: SpeechStarted | SpeechPartial | SpeechFinal | SpeechStopped, now: float) -> None:
        for (epoch, number), earlier in self._utterances.items():
            if epoch < event.epoch:
                earlier.give_up(now)
            elif number < event.utterance and earlier.ended_at is None:
                # Its stop was lost on the way.
                earlier.ended_at = earlier.stopped_at = now
        utterance = self._utterances.setdefault((event.epoch, event.utterance), _Utterance())
        if isinstance(event, SpeechPartial) and not utterance.complete:
            utterance.partial = event.text
        elif isinstance(event, SpeechFinal):
            utterance.finals.append(event.text)
            utterance.partial = ""
            utterance.complete = event.complete
        elif isinstance(event, SpeechStopped):
            # The clock of the worker that heard it may run ahead.
            utterance.ended_at = min(event.ended_at, now)
            utterance.stopped_at = now
        self._utterances = {key: heard for key, heard in self._utterances.items() if not heard.void}

    def _interrupts(self, event: SpeechStarted | SpeechPartial | SpeechFinal | SpeechStopped) -> bool:
        spoken = isinstance(event, SpeechPartial | SpeechFinal) and _has_words(event.text)
        return spoken and self._barge_in and self._reply is not None
