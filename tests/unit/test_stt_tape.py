"""What is kept of a caller's audio for another recogniser."""

from services.stt.provider import Hypothesis
from services.stt.tape import LONGEST_MS, Mark, Sound, Tape
from shared.audio import FRAME_BYTES, FRAME_MS, duration_ms
from shared.messages import Word

FRAME = b"\x01" * FRAME_BYTES


def feed(tape: Tape, ms: int) -> None:
    for _ in range(ms // FRAME_MS):
        tape.add(FRAME)


def kept(tape: Tape) -> list[str | tuple[int, int]]:
    """The items: marks by their kind, audio as (from, to) in ms."""
    items: list[str | tuple[int, int]] = []
    for item in tape.items():
        if isinstance(item, Mark):
            items.append(item.kind)
            continue
        begin_ms, last = item.at // 8, items[-1] if items else ""
        end_ms = begin_ms + duration_ms(item.mulaw)
        if isinstance(last, tuple) and last[1] == begin_ms:
            items[-1] = (last[0], end_ms)
        else:
            items.append((begin_ms, end_ms))
    return items


def utterance(tape: Tape, ms: int) -> None:
    tape.mark("begin")
    feed(tape, ms)
    tape.mark("finish")


def word(end_ms: int) -> tuple[Word, ...]:
    return (Word(text="word", start_ms=end_ms - 200, end_ms=end_ms, confidence=1.0),)


COMPLETE = Hypothesis("", final=True, complete=True)


def test_between_utterances_a_second_is_kept_for_a_beginning_that_is_noticed_late() -> None:
    tape = Tape()
    feed(tape, 5000)
    assert kept(tape) == [(4000, 5000)]
    utterance(tape, 3000)
    assert kept(tape) == [(4000, 5000), "begin", (5000, 8000), "finish"]
    assert tape.owed


def test_an_answer_ends_the_oldest_utterance_and_leaves_the_next() -> None:
    tape = Tape()
    utterance(tape, 500)
    feed(tape, 500)
    utterance(tape, 500)
    tape.hear(COMPLETE)
    assert kept(tape) == [(500, 1000), "begin", (1000, 1500), "finish"]
    tape.hear(COMPLETE)
    assert kept(tape) == []
    assert not tape.owed


def test_final_words_are_not_kept_and_the_utterance_goes_on() -> None:
    tape = Tape()
    tape.mark("begin")
    feed(tape, 2000)
    tape.hear(Hypothesis("word", final=True, words=word(1200)))
    assert kept(tape) == ["begin", (1200, 2000)]
    tape.mark("finish")
    tape.hear(COMPLETE)
    assert kept(tape) == []


def test_final_text_without_times_covers_all_that_was_fed() -> None:
    tape = Tape()
    tape.mark("begin")
    feed(tape, 2000)
    tape.hear(Hypothesis("word", final=True))
    assert kept(tape) == ["begin"]


def test_an_interim_text_keeps_audio_although_no_utterance_began() -> None:
    tape = Tape()
    feed(tape, 1000)
    tape.hear(Hypothesis("word", final=False))
    feed(tape, 4000)
    assert kept(tape) == [(0, 5000)]
    tape.hear(Hypothesis("word", final=True, words=word(4000)))
    assert kept(tape) == [(4000, 5000)]


def test_a_silence_that_the_provider_noticed_ends_the_utterance_without_a_finish() -> None:
    tape = Tape()
    tape.mark("begin")
    feed(tape, 2000)
    tape.hear(Hypothesis("word", final=True, complete=True, words=word(1500), silent_from_ms=1500))
    assert kept(tape) == [(1500, 2000)]


def test_the_end_of_a_turn_answers_the_finish_of_the_same_speech() -> None:
    tape = Tape()
    utterance(tape, 2000)
    feed(tape, 400)
    tape.hear(Hypothesis("word", final=True, complete=True, words=word(1700), turn_over=True))
    assert kept(tape) == [(2000, 2400)]


def test_the_end_of_a_turn_before_its_finish_leaves_the_finish_of_the_next() -> None:
    tape = Tape()
    tape.mark("begin")
    feed(tape, 2000)
    utterance(tape, 500)
    tape.hear(Hypothesis("word", final=True, complete=True, words=word(1500), turn_over=True))
    assert kept(tape) == [(1500, 2000), "begin", (2000, 2500), "finish"]


def test_no_more_than_half_a_minute_is_kept_and_every_mark() -> None:
    tape = Tape()
    utterance(tape, 1000)
    tape.mark("begin")
    feed(tape, LONGEST_MS + 5000)
    assert kept(tape) == ["begin", "finish", "begin", (6000, LONGEST_MS + 6000)]
    assert sum(isinstance(item, Sound) for item in tape.items()) == LONGEST_MS // FRAME_MS
