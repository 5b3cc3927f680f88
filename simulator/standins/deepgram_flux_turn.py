"""The turns of the caller as the Flux stand-in sees them. Pure.

Source: Deepgram's page "Understanding the Flux State Machine". The vendor judges by what was said and how; here a
turn ends after silence, soon when all of a known phrase was said, else at the timeout.
"""

from dataclasses import dataclass
from typing import Literal

from shared.audio import bytes_of
from simulator.standins.deepgram_flux_hearing import Moment
from simulator.standins.deepgram_scribe import Transcript, Word

TurnEvent = Literal["StartOfTurn", "Update", "EagerEndOfTurn", "TurnResumed", "EndOfTurn"]

_GOING_ON = ("and", "or", "but", "so", "because", "um", "uh", "er", "the", "a", "to", "for", "with")
"""No sentence ends with one of them."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one TurnInfo is about; positions in bytes."""

    event: TurnEvent
    turn: int
    start: int
    end: int
    words: tuple[Word, ...]
    recognition: float
    """How well the words were understood, 0 to 1."""
    trigger: Literal["model", "timeout"] | None = None
    """Why the turn ended."""


class FluxTurn:
    """The state of one stream: no turn, a turn, or a turn that is likely over."""

    def __init__(self, *, eager: bool, end_ms: int | None, timeout_ms: int) -> None:
        """`eager`: tell when a turn is likely over. Silence of `end_ms` ends a turn that sounds finished,
        None: never; silence of `timeout_ms` any."""
        self._eager = eager
        self._end = None if end_ms is None else bytes_of(end_ms)
        self._timeout = bytes_of(timeout_ms)
        self._index = 0
        self._start = 0
        self._clear()

    def _clear(self) -> None:
        self._state: Literal["none", "ongoing", "ending"] = "none"
        self._final: tuple[Word, ...] = ()
        self._interim: tuple[Word, ...] = ()
        self._recognition = 0.0
        self._finished = False
        """What was said last ends a sentence."""

    def step(self, moment: Moment, heard: Transcript) -> list[Said]:
        """The next moment, and what was understood of its segment."""
        self._take(moment, heard)
        speaking = bool(moment.segment.speech) and not moment.segment.is_final
        said: list[Said] = []
        if self._state == "none" and (self._final or self._interim):
            self._state = "ongoing"
            said.append(self._say("StartOfTurn", moment))
        elif self._state == "ending" and speaking:
            self._state = "ongoing"
            said.append(self._say("TurnResumed", moment))
        if self._state == "ongoing" and not speaking and self._finished:
            self._state = "ending"
            if self._eager:
                said.append(self._say("EagerEndOfTurn", moment))
        if self._state == "ending" and self._end is not None and moment.silence >= self._end:
            said.append(self._over("model", moment))
        elif self._state != "none" and moment.silence >= self._timeout:
            said.append(self._over("timeout", moment))
        if not said and moment.update:
            said.append(self._say("Update", moment))
        return said

    def _take(self, moment: Moment, heard: Transcript) -> None:
        if not moment.segment.speech:
            return
        if heard.words:
            self._recognition = heard.confidence
        self._interim = heard.words
        if moment.segment.is_final:
            self._final, self._interim = self._final + heard.words, ()
            if heard.words:
                self._finished = heard.whole and _sounds_finished(heard.text)

    def _say(self, event: TurnEvent, moment: Moment) -> Said:
        words = self._final + self._interim
        return Said(event, self._index, self._start, moment.segment.end, words, self._recognition)

    def _over(self, trigger: Literal["model", "timeout"], moment: Moment) -> Said:
        words, end = self._final + self._interim, moment.segment.end
        said = Said("EndOfTurn", self._index, self._start, end, words, self._recognition, trigger)
        self._clear()
        self._index, self._start = self._index + 1, end
        return said


def _sounds_finished(text: str) -> bool:
    last = text.split()[-1]
    return not last.endswith((",", "-", "…", "...")) and last.rstrip(".").lower() not in _GOING_ON
