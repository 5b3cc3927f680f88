"""The speech messages that were told lately, for an llm that takes the call over. Pure: the clock is passed in."""

from collections import deque
from collections.abc import Callable

from shared.messages import Message, SpeechFinal, SpeechPartial, SpeechStarted, SpeechStopped, SpeechSustained

Speech = SpeechStarted | SpeechSustained | SpeechStopped | SpeechPartial | SpeechFinal

_KEPT_S = 60.0
"""So long after its completion an utterance is remembered: a stage without any worker ends the call earlier."""
_MOST = 300
"""Messages of an endless utterance; the oldest are forgotten."""


class History:
    """What was told of the newest utterances, in order; of the interim transcripts only the newest."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Nothing was told. `clock` tells the Unix time in seconds."""
        self._clock = clock
        self._told: deque[Speech] = deque(maxlen=_MOST)
        self._completed: dict[int, float] = {}
        """When each utterance became complete."""

    def add(self, message: Message) -> None:
        """`message` is told now; only speech is remembered."""
        if not isinstance(message, Speech):
            return
        if isinstance(message, SpeechPartial | SpeechFinal):
            self._replace_partial(message.utterance)
        self._told.append(message)
        if isinstance(message, SpeechFinal) and message.complete:
            now = self._clock()
            self._completed[message.utterance] = now
            self._forget(now - _KEPT_S)

    def since(self, at: float) -> list[Speech]:
        """What was told of the utterances that are open, or became complete after the Unix time `at`."""
        return [told for told in self._told if self._completed.get(told.utterance, at) >= at]

    def newest(self, utterance: int) -> SpeechPartial:
        """The newest interim transcript of an utterance; without words if there is none."""
        found = (told for told in self._told if isinstance(told, SpeechPartial) and told.utterance == utterance)
        return next(found, SpeechPartial(utterance=utterance, text=""))

    def _forget(self, before: float) -> None:
        old = {number for number, completed_at in self._completed.items() if completed_at < before}
        if old:
            self._told = deque((told for told in self._told if told.utterance not in old), maxlen=_MOST)
            self._completed = {number: at for number, at in self._completed.items() if number not in old}

    def _replace_partial(self, utterance: int) -> None:
        """An interim transcript of `utterance` is obsolete; it lies near the end, and behind the utterance's start."""
        for place in range(len(self._told) - 1, -1, -1):
            told = self._told[place]
            if told.utterance != utterance:
                continue
            if isinstance(told, SpeechPartial):
                del self._told[place]
                return
            if isinstance(told, SpeechStarted):
                return
