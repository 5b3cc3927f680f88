"""Which utterance a text belongs to, and where its words lie."""

from services.stt.provider import Hypothesis
from services.stt.timeline import Timeline
from services.stt.utterances import UNCONFIRMED_MS, Utterances
from shared.messages import Message, SpeechFinal, SpeechPartial, SpeechStarted, SpeechStopped, Word

PARTIAL = Hypothesis("what are", final=False)
FINAL = Hypothesis("what are your hours", final=True)
LAST = Hypothesis("today", final=True, complete=True)
EMPTY = Hypothesis("", final=True, complete=True)


def told(messages: list[Message]) -> list[tuple[str, int]]:
    numbered = (SpeechStarted, SpeechStopped, SpeechPartial, SpeechFinal)
    return [(m.suffix.split(".")[1], m.utterance) for m in messages if isinstance(m, numbered)]


def test_an_utterance_is_started_heard_stopped_and_completed() -> None:
    utterances = Utterances()
    messages = [*utterances.start(100), *utterances.hear(PARTIAL, 300), *utterances.hear(FINAL, 400)]
    messages += [*utterances.stop(500, 7.0), *utterances.hear(LAST, 700)]
    assert told(messages) == [("started", 1), ("partial", 1), ("final", 1), ("stopped", 1), ("final", 1)]
    assert [m.complete for m in messages if isinstance(m, SpeechFinal)] == [False, True]
    assert messages[3] == SpeechStopped(utterance=1, t_ms=500, ended_at=7.0)


def test_a_late_text_belongs_to_the_oldest_utterance_that_is_not_complete() -> None:
    utterances = Utterances()
    for start in (0, 1000):
        utterances.start(start)
        utterances.stop(start + 500, 0.0)
    utterances.start(2000)
    hypotheses = [FINAL, LAST, EMPTY, PARTIAL]
    assert [told(utterances.hear(hypothesis, 2100)) for hypothesis in hypotheses] == [
        [("final", 1)],
        [("final", 1)],
        [("final", 2)],
        [("partial", 3)],
    ]


def test_a_text_without_an_utterance_opens_one() -> None:
    words = (Word(text="what", start_ms=4200, end_ms=4400),)
    messages = Utterances().hear(Hypothesis("what", final=False, words=words), 4800)
    assert messages == [SpeechStarted(utterance=1, t_ms=4200), SpeechPartial(utterance=1, text="what")]


def test_no_text_without_an_utterance_is_nothing() -> None:
    assert Utterances().hear(EMPTY, 100) == []


def test_the_vad_takes_over_an_utterance_that_text_has_opened() -> None:
    utterances = Utterances()
    utterances.hear(PARTIAL, 100)
    assert utterances.start(90) == []
    assert not utterances.unconfirmed(100 + 10 * UNCONFIRMED_MS)
    assert told(utterances.stop(500, 0.0)) == [("stopped", 1)]


def test_an_utterance_of_text_alone_is_unconfirmed_when_no_more_text_comes() -> None:
    utterances = Utterances()
    utterances.hear(PARTIAL, 100)
    utterances.hear(PARTIAL, 400)
    assert not utterances.unconfirmed(399 + UNCONFIRMED_MS)
    assert utterances.unconfirmed(400 + UNCONFIRMED_MS)
    assert told([*utterances.stop(900, 0.0), *utterances.hear(LAST, 950)]) == [("stopped", 1), ("final", 1)]
    assert not utterances.unconfirmed(9000)


def test_fed_audio_is_placed_on_the_callers_timeline() -> None:
    timeline = Timeline()
    for at in (60_000, 60_020, 60_100, 60_120):
        timeline.feed(at, 20)
    assert [timeline.locate(fed) for fed in (0, 39, 40, 70)] == [60_000, 60_039, 60_100, 60_130]


def test_jitter_of_the_timestamps_is_no_gap() -> None:
    timeline = Timeline()
    for at in (0, 23, 38, 60):
        timeline.feed(at, 20)
    assert timeline.locate(70) == 70
