"""What Flux says about the caller's turns, as hypotheses. Pure.

Source: Deepgram's pages "Understanding the Flux State Machine" and "End-of-Turn Detection Parameters".
"""

from collections import deque

from services.stt.provider import Hypothesis, ends
from services.stt.providers.deepgram_messages import TurnInfo
from shared.messages import Word

LATE_MS = 300
"""So much later than its sound, at most, Flux tells that a turn began."""

_NOTHING = Hypothesis("", final=True, complete=True)


class FluxTurns:
    """The turns of one stream, and who waits for their end."""

    def __init__(self) -> None:
        """Nobody has spoken."""
        self._asked: deque[int] = deque()
        """How much audio (ms) was fed before each `finish` that has no answer yet."""
        self.open = False
        """The caller's turn has begun and is not over, as Flux hears it."""
        self._told = ("", False)
        """The newest interim hypothesis: (text, likely_over)."""
        self._newest: TurnInfo | None = None
        self._given = 0
        """How many words of the turn that is open were final before its end."""

    @property
    def waiting(self) -> bool:
        """Whether a `finish` has no answer yet."""
        return bool(self._asked)

    def finish(self, position_ms: int) -> None:
        """The caller fell silent when so much audio was fed."""
        self._asked.append(position_ms)

    def hear(self, info: TurnInfo) -> list[Hypothesis]:
        """The next message."""
        if info.event == "EndOfTurn":
            return self._end(info)
        self._newest = info
        if info.event != "Update" or info.transcript:
            self.open = True
        if not self.open:
            return self._answer(_ms(info.audio_window_end) - LATE_MS)
        text, words, confidence = self._rest(info, interim=True)
        # A likely end stays one until the turn is resumed.
        told = (text, info.event == "EagerEndOfTurn" or (info.event == "Update" and self._told == (text, True)))
        # What was asked for before the first word is no part of the turn.
        earlier = self._answer(words[0].start_ms) if words else []
        if not text or told == self._told:
            return earlier
        self._told = told
        return [*earlier, Hypothesis(text, False, confidence=confidence, words=words, likely_over=told[1])]

    def _end(self, info: TurnInfo) -> list[Hypothesis]:
        text, words, confidence = self._rest(info)
        answers = self._answer(_ms(info.audio_window_end) + LATE_MS)
        self.open, self._told, self._newest, self._given = False, ("", False), None, 0
        if not text:
            return answers
        return [*answers[1:], Hypothesis(text, True, True, confidence, words, turn_over=True)]

    def give_up(self) -> list[Hypothesis]:
        """Flux takes too long: what it said so far answers each `finish`; only what it adds comes later."""
        answers = [_NOTHING] * len(self._asked)
        self._asked.clear()
        text, words, confidence = self._rest(self._newest) if self._newest is not None else ("", (), 1.0)
        if not text or not answers:
            return answers
        self._given += len(text.split())
        self._told = ("", False)
        return [*answers[1:], Hypothesis(text, True, True, confidence, words)]

    def _answer(self, upto_ms: int) -> list[Hypothesis]:
        answers = []
        while self._asked and self._asked[0] <= upto_ms:
            self._asked.popleft()
            answers.append(_NOTHING)
        return answers

    def _rest(self, info: TurnInfo, *, interim: bool = False) -> tuple[str, tuple[Word, ...], float]:
        """(text, words, confidence) of the turn, without what was given before."""
        if not self._given:
            text, items = info.transcript, info.words
        else:
            text, items = " ".join(info.transcript.split()[self._given :]), info.words[self._given :]
        confidence = sum(item.confidence for item in items) / len(items) if text and items else 1.0
        words: list[Word] = []
        for item in ends(items) if interim else items:
            if item.start is None or item.end is None:
                # Older versions do not tell.
                return text, (), confidence
            start_ms, end_ms = _ms(item.start), _ms(item.end)
            words.append(Word(text=item.word, start_ms=start_ms, end_ms=end_ms, confidence=item.confidence))
        return text, tuple(words), confidence


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
