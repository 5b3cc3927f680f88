"""Which utterance a piece of transcript belongs to, and which are none of the caller's. Events in, messages out."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from services.stt.arrivals import Arrivals
from services.stt.provider import Hypothesis
from shared.messages import Message, SpeechFinal, SpeechPartial, SpeechStarted, SpeechStopped

UNCONFIRMED_MS = 500
_LATE_MS = 300
"""A provider that says no more than that the turn is over may not have heard so much of the newest audio."""
_TEXT_MS = 1000
"""Where the words of a text lie, if it does not say: not further back than this."""

IsEcho = Callable[[int | None, int, int], bool]
"""(utterance or None, from, to in ms): whether there was nothing but the agent's voice on the caller's line."""


class _Echo(Enum):
    NONE = auto()
    SUSPECTED = auto()
    """Its texts are held back until it is known whose they are."""
    NOTHING_ELSE = auto()
    """It has no words."""


@dataclass(slots=True, eq=False)
class _Utterance:
    number: int
    line: int
    """The line whose timeline its times belong to."""
    began_ms: int
    text_at_ms: int | None = None
    """When the last text came to an utterance that only text speaks for."""
    stopped_ms: int = 0
    echo: _Echo = _Echo.NONE
    held: list[SpeechPartial | SpeechFinal] = field(default_factory=list)

    def began_before(self, t_ms: int, line: int) -> bool:
        return self.line < line or self.text_at_ms is not None or self.began_ms < t_ms


class Utterances:
    """The caller's utterances in one call, numbered from 1.

    The local VAD opens and closes them; the provider may close one that the VAD keeps open. Text goes to the
    oldest one that is closed and not complete, else to the open one. Text that comes while there is none (the
    VAD missed quiet speech) opens one by itself; the VAD takes it over, or it is to be closed when no more text
    came for UNCONFIRMED_MS. An utterance that is nothing but the agent's echo has no words.
    """

    def __init__(
        self, arrivals: Arrivals, is_echo: IsEcho = lambda utterance, from_ms, to_ms: False, line: int = 0
    ) -> None:
        """Nobody has spoken. `is_echo` is asked when an utterance ends, and when text alone would open one."""
        self.line = line
        """The number of the caller's line, and so the timeline of what begins now."""
        self._arrivals = arrivals
        self._is_echo = is_echo
        self._number = 0
        self._open: _Utterance | None = None
        self._closed: deque[_Utterance] = deque()
        """The provider still owes their last text."""

    @property
    def open(self) -> int | None:
        """The number of the one that has not ended."""
        return self._open.number if self._open is not None else None

    def start(self, t_ms: int) -> list[Message]:
        """The VAD heard speech begin at `t_ms`."""
        if self._open is None:
            return [self._begin(t_ms)]
        self._open.text_at_ms = None
        return []

    def stop(self, t_ms: int) -> list[Message]:
        """Speech ended at `t_ms`; the provider owes the rest."""
        if self._open is None:
            return []
        ended, self._open = self._open, None
        messages: list[Message] = []
        if self._is_echo(ended.number, ended.began_ms, t_ms):
            ended.echo = _Echo.NOTHING_ELSE
        else:
            ended.echo = _Echo.NONE
            messages += ended.held
        ended.held = []
        ended.stopped_ms = t_ms
        self._closed.append(ended)
        return [
            *messages,
            SpeechStopped(utterance=ended.number, t_ms=t_ms, ended_at=self._arrivals.before(t_ms)),
        ]

    def owed(self, number: int) -> bool:
        """Whether the utterance has ended and is not complete."""
        return any(utterance.number == number for utterance in self._closed)

    def unconfirmed(self, t_ms: int) -> bool:
        """Whether the open utterance began with text, and neither the VAD nor more text confirmed it until `t_ms`."""
        at_ms = self._open.text_at_ms if self._open is not None else None
        return at_ms is not None and t_ms - at_ms >= UNCONFIRMED_MS

    def suspect(self, *, echo: bool) -> list[Message]:
        """There is echo in the open utterance, and nothing else as yet; or there is more in it, after all."""
        if self._open is None:
            return []
        self._open.echo = _Echo.SUSPECTED if echo else _Echo.NONE
        held: list[Message] = []
        if not echo:
            held += self._open.held
            self._open.held = []
        return held

    def hear(self, hypothesis: Hypothesis) -> list[Message]:
        """The provider understood something."""
        messages = self._begin_with(hypothesis)
        noticed = hypothesis.silent_from_ms is not None
        if hypothesis.turn_over or (hypothesis.complete and noticed):
            return messages + self._complete(hypothesis)
        if hypothesis.silent_from_ms is not None and not self._closed and self._ends(hypothesis.silent_from_ms):
            messages += self.stop(hypothesis.silent_from_ms)
        utterance = self._addressee(hypothesis)
        if utterance is None:
            return messages
        if utterance.text_at_ms is not None:
            utterance.text_at_ms = self._arrivals.end_ms
        if not hypothesis.final:
            return messages + _tell(utterance, _partial(utterance, hypothesis))
        complete = hypothesis.complete and bool(self._closed)
        if complete:
            self._closed.popleft()
        return messages + _tell(utterance, _final(utterance, hypothesis, complete=complete))

    def _begin_with(self, hypothesis: Hypothesis) -> list[Message]:
        """Text opens an utterance when there is none for it, unless it is the agent's."""
        if self._open is not None or self._closed or not hypothesis.text:
            return []
        now_ms, words = self._arrivals.end_ms, hypothesis.words
        span = (words[0].start_ms, words[-1].end_ms) if words else (now_ms - _TEXT_MS, now_ms)
        if self._is_echo(None, *span):
            return []
        return [self._begin(words[0].start_ms if words else now_ms, text_at_ms=now_ms)]

    def _addressee(self, hypothesis: Hypothesis) -> _Utterance | None:
        if hypothesis.final:
            return self._closed[0] if self._closed else self._open
        waiting = [utterance for utterance in self._closed if utterance.echo is _Echo.NONE]
        if waiting or not self._closed or self._open is None:
            return waiting[0] if waiting else self._open
        # Only echo waits. Its text must not become the caller's.
        heard_ms = hypothesis.words[-1].end_ms if hypothesis.words else self._arrivals.end_ms
        return self._open if heard_ms > self._closed[-1].stopped_ms else None

    def _ends(self, t_ms: int) -> bool:
        """Whether silence from `t_ms` on ends the open utterance: one that began later is another one."""
        return self._open is not None and self._open.began_before(t_ms, self.line)

    def _complete(self, hypothesis: Hypothesis) -> list[Message]:
        """The provider is done with all that was said until now, asked or not."""
        silent_ms = hypothesis.silent_from_ms
        if silent_ms is None and hypothesis.words:
            silent_ms = hypothesis.words[-1].end_ms
        now_ms = self._arrivals.end_ms
        until_ms = now_ms - _LATE_MS if silent_ms is None else silent_ms
        messages: list[Message] = []
        if self._open is not None and (self._ends(until_ms) or (hypothesis.turn_over and not self._closed)):
            ended_ms = now_ms if silent_ms is None else min(silent_ms, now_ms)
            messages += self.stop(max(ended_ms, self._open.began_ms))
        began = [utterance for utterance in self._closed if utterance.began_before(until_ms, self.line)]
        over = began or [*self._closed][:1]
        if not over:
            # Silence from before the open utterance: its end is still to come.
            text = _tell(self._open, _final(self._open, hypothesis, complete=False)) if self._open is not None else []
            return messages + text
        self._closed = deque(utterance for utterance in self._closed if utterance not in over)
        # The text is that of all of them: the newest tells it, unless it is echo.
        teller = next((utterance for utterance in reversed(over) if utterance.echo is _Echo.NONE), over[-1])
        for utterance in over:
            if utterance is not teller:
                messages.append(_nothing(utterance))
        return messages + _tell(teller, _final(teller, hypothesis, complete=True))

    def _begin(self, t_ms: int, text_at_ms: int | None = None) -> SpeechStarted:
        self._number += 1
        self._open = _Utterance(self._number, self.line, t_ms, text_at_ms)
        return SpeechStarted(utterance=self._number, t_ms=t_ms, began_at=self._arrivals.of(t_ms), line=self.line)


def _tell(utterance: _Utterance, message: SpeechPartial | SpeechFinal) -> list[Message]:
    if utterance.echo is _Echo.NONE:
        return [message]
    if utterance.echo is _Echo.SUSPECTED:
        # A newer interim transcript, and a final one, replace the interim one before.
        utterance.held = [*(held for held in utterance.held if isinstance(held, SpeechFinal)), message]
        return []
    if isinstance(message, SpeechFinal) and message.complete:
        return [_nothing(utterance)]
    return []


def _nothing(utterance: _Utterance) -> SpeechFinal:
    """It is complete, and has no words of its own."""
    return SpeechFinal(
        utterance=utterance.number, text="", complete=True, until_ms=utterance.stopped_ms, line=utterance.line
    )


def _partial(utterance: _Utterance, hypothesis: Hypothesis) -> SpeechPartial:
    return SpeechPartial(
        utterance=utterance.number,
        text=hypothesis.text,
        confidence=hypothesis.confidence,
        likely_over=hypothesis.likely_over,
    )


def _final(utterance: _Utterance, hypothesis: Hypothesis, *, complete: bool) -> SpeechFinal:
    last_word_ms = hypothesis.words[-1].end_ms if hypothesis.words else None
    return SpeechFinal(
        utterance=utterance.number,
        text=hypothesis.text,
        words=hypothesis.words,
        confidence=hypothesis.confidence,
        complete=complete,
        turn_over=hypothesis.turn_over,
        until_ms=utterance.stopped_ms if complete else last_word_ms,
        line=utterance.line,
    )
