"""Which utterance a text belongs to, and when one is over."""

import pytest

from services.stt.arrivals import Arrivals
from services.stt.provider import Hypothesis
from services.stt.utterances import UNCONFIRMED_MS, Utterances
from shared.messages import Message, SpeechFinal, SpeechPartial, SpeechStarted, SpeechStopped, Word

PARTIAL = Hypothesis("what are", final=False)
FINAL = Hypothesis("what are your hours", final=True)
LAST = Hypothesis("today", final=True, complete=True)
EMPTY = Hypothesis("", final=True, complete=True)


class Line:
    """A caller's line whose audio has come to some place; it comes 1000 s after it was said."""

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = 0
        self.arrivals = Arrivals(lambda: 1000 + self._now_ms / 1000)
        self.echo: set[int | None] = set()
        self.asked: list[tuple[int | None, int, int]] = []
        self.utterances = Utterances(self.arrivals, self._is_echo)
        self.at(now_ms)

    def at(self, now_ms: int) -> Utterances:
        """The utterances, when the audio has come to `now_ms`."""
        while self._now_ms < now_ms:
            self._now_ms += 20
            self.arrivals.add(self._now_ms)
        return self.utterances

    def _is_echo(self, utterance: int | None, from_ms: int, to_ms: int) -> bool:
        self.asked.append((utterance, from_ms, to_ms))
        return utterance in self.echo


def told(messages: list[Message]) -> list[tuple[str, int]]:
    numbered = (SpeechStarted, SpeechStopped, SpeechPartial, SpeechFinal)
    return [(m.suffix.split(".")[1], m.utterance) for m in messages if isinstance(m, numbered)]


def finals(messages: list[Message]) -> list[tuple[int, str, bool]]:
    return [(m.utterance, m.text, m.complete) for m in messages if isinstance(m, SpeechFinal)]


def word(start_ms: int, end_ms: int) -> Word:
    return Word(text="hours", start_ms=start_ms, end_ms=end_ms)


def test_an_utterance_is_started_heard_stopped_and_completed() -> None:
    utterances = Line(600).utterances
    messages = [*utterances.start(100), *utterances.hear(PARTIAL), *utterances.hear(FINAL)]
    messages += [*utterances.stop(500), *utterances.hear(LAST)]
    assert told(messages) == [("started", 1), ("partial", 1), ("final", 1), ("stopped", 1), ("final", 1)]
    assert [complete for _, _, complete in finals(messages)] == [False, True]
    # The sample at 100 ms came with the frame that ends at 120, the one before 500 with the frame that ends there.
    assert messages[0] == SpeechStarted(utterance=1, t_ms=100, began_at=1000.12)
    assert messages[3] == SpeechStopped(utterance=1, t_ms=500, ended_at=1000.5)


def test_a_final_tells_until_where_the_audio_is_done_with() -> None:
    line = Line(2000)
    utterances = line.utterances
    utterances.line = 3
    [started] = utterances.start(100)
    messages = utterances.hear(Hypothesis("what are", True, words=(word(200, 640),)))
    messages += utterances.hear(Hypothesis("your", True))
    utterances.stop(1500)
    messages += utterances.hear(Hypothesis("hours", True, True, words=(word(900, 1380),)))
    assert isinstance(started, SpeechStarted)
    assert started.line == 3
    until = [(m.until_ms, m.line) for m in messages if isinstance(m, SpeechFinal)]
    assert until == [(640, 3), (None, 3), (1500, 3)]


def test_what_was_said_on_the_line_before_is_completed_first() -> None:
    line = Line(60_000)
    utterances = line.utterances
    utterances.start(58_000)
    utterances.stop(59_000)
    utterances.line = 1
    line.arrivals.clear()
    utterances.start(500)
    utterances.stop(1000)
    messages = utterances.hear(Hypothesis("hours", True, True, turn_over=True, words=(word(600, 950),)))
    spans = [(m.utterance, m.text, m.until_ms, m.line) for m in messages if isinstance(m, SpeechFinal)]
    assert spans == [(1, "", 59_000, 0), (2, "hours", 1000, 1)]


def test_a_late_text_belongs_to_the_oldest_utterance_that_is_not_complete() -> None:
    utterances = Line(2100).utterances
    for start in (0, 1000):
        utterances.start(start)
        utterances.stop(start + 500)
    utterances.start(2000)
    hypotheses = [FINAL, LAST, EMPTY, PARTIAL]
    assert [told(utterances.hear(hypothesis)) for hypothesis in hypotheses] == [
        [("final", 1)],
        [("final", 1)],
        [("final", 2)],
        [("partial", 3)],
    ]


def test_a_closed_utterance_is_owed_until_it_is_complete() -> None:
    utterances = Line(600).utterances
    utterances.start(0)
    assert not utterances.owed(1)
    utterances.stop(500)
    assert utterances.owed(1)
    utterances.hear(LAST)
    assert not utterances.owed(1)


def test_a_text_without_an_utterance_opens_one() -> None:
    messages = Line(4800).utterances.hear(Hypothesis("what", final=False, words=(word(4200, 4400),)))
    assert messages == [
        SpeechStarted(utterance=1, t_ms=4200, began_at=1004.22),
        SpeechPartial(utterance=1, text="what"),
    ]


def test_no_text_without_an_utterance_is_nothing() -> None:
    assert Line(100).utterances.hear(EMPTY) == []


def test_the_vad_takes_over_an_utterance_that_text_has_opened() -> None:
    utterances = Line(100).utterances
    utterances.hear(PARTIAL)
    assert utterances.start(90) == []
    assert not utterances.unconfirmed(100 + 10 * UNCONFIRMED_MS)
    assert told(utterances.stop(500)) == [("stopped", 1)]


def test_an_utterance_of_text_alone_is_unconfirmed_when_no_more_text_comes() -> None:
    line = Line(100)
    line.utterances.hear(PARTIAL)
    utterances = line.at(400)
    utterances.hear(PARTIAL)
    assert not utterances.unconfirmed(399 + UNCONFIRMED_MS)
    assert utterances.unconfirmed(400 + UNCONFIRMED_MS)
    assert told([*utterances.stop(900), *utterances.hear(LAST)]) == [("stopped", 1), ("final", 1)]
    assert not utterances.unconfirmed(9000)


def test_a_likely_end_of_the_turn_is_passed_on() -> None:
    utterances = Line(600).utterances
    utterances.start(100)
    [partial] = utterances.hear(Hypothesis("what are", final=False, likely_over=True))
    assert partial == SpeechPartial(utterance=1, text="what are", likely_over=True)


def test_a_silence_that_the_provider_notices_closes_what_the_vad_keeps_open() -> None:
    utterances = Line(2000).utterances
    utterances.start(100)
    messages = utterances.hear(Hypothesis("hours", True, True, silent_from_ms=1500))
    assert messages[0] == SpeechStopped(utterance=1, t_ms=1500, ended_at=1001.5)
    assert finals(messages) == [(1, "hours", True)]
    assert not utterances.owed(1)
    assert utterances.stop(2000) == []


def test_a_silence_without_completion_leaves_the_rest_owed() -> None:
    utterances = Line(2000).utterances
    utterances.start(100)
    messages = utterances.hear(Hypothesis("hours", True, silent_from_ms=1500))
    assert told(messages) == [("stopped", 1), ("final", 1)]
    assert utterances.owed(1)
    assert finals(utterances.hear(EMPTY)) == [(1, "", True)]


def test_a_silence_before_the_open_utterance_does_not_end_it() -> None:
    utterances = Line(3000).utterances
    utterances.start(100)
    utterances.stop(1500)
    utterances.start(1900)
    messages = utterances.hear(Hypothesis("hours", True, True, silent_from_ms=1500))
    assert (told(messages), utterances.open) == ([("final", 1)], 2)
    assert utterances.hear(Hypothesis("", True, True, silent_from_ms=1500)) == [
        SpeechFinal(utterance=2, text="", complete=False)
    ]


TURN_OVER = Hypothesis("your hours", True, True, turn_over=True, words=(word(900, 1400),))


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        # (began, ended or None): the messages that the end of the turn leads to.
        ([(100, 1500)], [("final", 1)]),
        ([(100, None)], [("stopped", 1), ("final", 1)]),
        ([(100, 500), (800, 1500)], [("final", 1), ("final", 2)]),
        ([(100, 500), (800, None)], [("stopped", 2), ("final", 1), ("final", 2)]),
        ([(100, 1500), (1700, None)], [("final", 1)]),
        ([(100, 1500), (1700, 1900)], [("final", 1)]),
        ([(1700, None)], [("stopped", 1), ("final", 1)]),
        ([(1700, 1900)], [("final", 1)]),
        ([], [("started", 1), ("stopped", 1), ("final", 1)]),
    ],
)
def test_the_end_of_a_turn_completes_what_was_said_in_it(
    spans: list[tuple[int, int | None]], expected: list[tuple[str, int]]
) -> None:
    utterances = Line(2000).utterances
    for began_ms, ended_ms in spans:
        utterances.start(began_ms)
        if ended_ms is not None:
            utterances.stop(ended_ms)
    messages = utterances.hear(TURN_OVER)
    assert told(messages) == expected
    *older, last = [message for message in messages if isinstance(message, SpeechFinal)]
    assert all(final.complete and not final.text and not final.turn_over for final in older)
    assert (last.text, last.complete, last.turn_over) == ("your hours", True, True)


def test_the_end_of_a_turn_without_words_in_time_ends_what_is_open() -> None:
    utterances = Line(2000).utterances
    utterances.start(500)
    messages = utterances.hear(Hypothesis("hours", True, True, turn_over=True))
    assert told(messages) == [("stopped", 1), ("final", 1)]
    assert utterances.open is None


def test_an_utterance_that_begins_as_the_turn_ends_belongs_to_the_next() -> None:
    utterances = Line(2000).utterances
    utterances.start(500)
    utterances.stop(1500)
    utterances.start(1900)
    assert told(utterances.hear(Hypothesis("hours", True, True, turn_over=True))) == [("final", 1)]
    assert utterances.open == 2


def test_an_utterance_of_echo_alone_has_no_words() -> None:
    line = Line(2000)
    line.echo = {1}
    utterances = line.utterances
    utterances.start(500)
    utterances.suspect(echo=True)
    assert utterances.hear(PARTIAL) == utterances.hear(FINAL) == []
    assert told(utterances.stop(1500)) == [("stopped", 1)]
    assert line.asked == [(1, 500, 1500)]
    assert utterances.hear(FINAL) == []
    assert utterances.hear(LAST) == [SpeechFinal(utterance=1, text="", complete=True, until_ms=1500)]


def test_the_words_of_a_suspect_wait_until_the_caller_is_known_to_speak() -> None:
    utterances = Line(2000).utterances
    utterances.start(500)
    assert utterances.suspect(echo=True) == []
    for hypothesis in (PARTIAL, FINAL, Hypothesis("to", final=False), Hypothesis("today", final=False)):
        assert utterances.hear(hypothesis) == []
    released = utterances.suspect(echo=False)
    assert released == [
        SpeechFinal(utterance=1, text="what are your hours", complete=False),
        SpeechPartial(utterance=1, text="today"),
    ]
    assert told(utterances.hear(PARTIAL)) == [("partial", 1)]


def test_the_words_of_a_suspect_that_was_no_echo_come_before_its_end() -> None:
    utterances = Line(2000).utterances
    utterances.start(500)
    utterances.suspect(echo=True)
    utterances.hear(FINAL)
    assert told([*utterances.stop(1500), *utterances.hear(LAST)]) == [("final", 1), ("stopped", 1), ("final", 1)]


def test_the_callers_words_do_not_wait_for_the_transcript_of_an_echo() -> None:
    line = Line(3000)
    line.echo = {1}
    utterances = line.utterances
    utterances.start(500)
    utterances.stop(1500)
    utterances.start(2500)
    assert utterances.hear(Hypothesis("order", final=False, words=(word(700, 1400),))) == []
    assert told(utterances.hear(Hypothesis("stop", final=False, words=(word(2600, 2900),)))) == [("partial", 2)]
    messages = utterances.hear(Hypothesis("stop", True, True, turn_over=True, words=(word(2600, 2900),)))
    assert finals(messages) == [(1, "", True), (2, "stop", True)]


def test_text_alone_that_is_echo_opens_nothing() -> None:
    line = Line(3000)
    line.echo = {None}
    assert line.utterances.hear(PARTIAL) == []
    assert line.utterances.hear(Hypothesis("order", True, words=(word(700, 1400),))) == []
    assert line.asked == [(None, 2000, 3000), (None, 700, 1400)]
