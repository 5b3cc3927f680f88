"""Which utterance a piece of transcript belongs to. Pure: events in, messages out."""

from collections import deque

from services.stt.provider import Hypothesis
from shared.messages import Message, SpeechFinal, SpeechPartial, SpeechStarted, SpeechStopped

UNCONFIRMED_MS = 500


class Utterances:
    """The caller's utterances in one call, numbered from 1.

    The local VAD opens and closes them. Text goes to the oldest one that is closed and not complete,
    else to the open one. Text that comes while there is none (the VAD missed quiet speech) opens one
    by itself; the VAD takes it over, or it is to be closed when no more text came for UNCONFIRMED_MS.
    """

    def __init__(self) -> None:
        """Nobody has spoken."""
        self._number = 0
        self._open: int | None = None
        self._text_at_ms: int | None = None
        """When the last text came to an utterance that only text speaks for."""
        self._incomplete: deque[int] = deque()
        """Closed, and the provider still owes their last text."""

    def start(self, t_ms: int) -> list[Message]:
        """The VAD heard speech begin at `t_ms`."""
        self._text_at_ms = None
        return [] if self._open is not None else [self._begin(t_ms)]

    def stop(self, t_ms: int, ended_at: float) -> list[Message]:
        """Speech ended at `t_ms`, which arrived at the Unix time `ended_at`; the provider is asked for the rest."""
        if self._open is None:
            return []
        number, self._open, self._text_at_ms = self._open, None, None
        self._incomplete.append(number)
        return [SpeechStopped(utterance=number, t_ms=t_ms, ended_at=ended_at)]

    def unconfirmed(self, t_ms: int) -> bool:
        """Whether the open utterance began with text, and neither the VAD nor more text confirmed it until `t_ms`."""
        return self._text_at_ms is not None and t_ms - self._text_at_ms >= UNCONFIRMED_MS

    def hear(self, hypothesis: Hypothesis, t_ms: int) -> list[Message]:
        """The provider understood something when the caller's audio had come to `t_ms`."""
        messages: list[Message] = []
        number = self._incomplete[0] if self._incomplete else self._open
        if number is None:
            if not hypothesis.text:
                return []
            messages.append(self._begin(hypothesis.words[0].start_ms if hypothesis.words else t_ms))
            number, self._text_at_ms = self._number, t_ms
        elif number == self._open and self._text_at_ms is not None:
            self._text_at_ms = t_ms
        if not hypothesis.final:
            return [*messages, SpeechPartial(utterance=number, text=hypothesis.text, confidence=hypothesis.confidence)]
        complete = hypothesis.complete and bool(self._incomplete)
        if complete:
            self._incomplete.popleft()
        return [*messages, _final(number, hypothesis, complete=complete)]

    def _begin(self, t_ms: int) -> SpeechStarted:
        self._number += 1
        self._open = self._number
        return SpeechStarted(utterance=self._number, t_ms=t_ms)


def _final(number: int, hypothesis: Hypothesis, *, complete: bool) -> SpeechFinal:
    return SpeechFinal(
        utterance=number,
        text=hypothesis.text,
        words=hypothesis.words,
        confidence=hypothesis.confidence,
        complete=complete,
    )
