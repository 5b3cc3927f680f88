"""Which answer belongs to which Finalize."""

from services.stt.providers.deepgram_finalizes import Finalizes


def test_the_marked_transcript_answers_the_finalize() -> None:
    finalizes = Finalizes()
    asked = finalizes.ask(2000)
    assert finalizes.settle(2000, from_finalize=True) == [asked]


def test_the_marked_transcript_may_end_a_little_before_the_finalize() -> None:
    finalizes = Finalizes()
    asked = finalizes.ask(2000)
    assert finalizes.settle(1940, from_finalize=True) == [asked]


def test_a_transcript_of_earlier_audio_does_not_answer() -> None:
    finalizes = Finalizes()
    finalizes.ask(2000)
    assert finalizes.settle(1900, from_finalize=False) == []


def test_a_transcript_of_all_audio_answers_without_the_mark() -> None:
    finalizes = Finalizes()
    asked = finalizes.ask(2000)
    assert finalizes.settle(2500, from_finalize=False) == [asked]


def test_after_an_endpoint_at_the_last_sample_nothing_is_left_to_answer() -> None:
    finalizes = Finalizes()
    finalizes.settle(2000, from_finalize=False)
    assert not finalizes.ask(2000).open


def test_no_finalize_is_answered_twice() -> None:
    finalizes = Finalizes()
    finalizes.ask(2000)
    finalizes.settle(2500, from_finalize=False)
    assert finalizes.settle(2000, from_finalize=True) == []


def test_a_late_answer_does_not_count_for_the_next_utterance() -> None:
    finalizes = Finalizes()
    first = finalizes.ask(2000)
    assert finalizes.expire(first) == [first]
    second = finalizes.ask(4000)
    assert finalizes.settle(2000, from_finalize=True) == []
    assert finalizes.settle(4000, from_finalize=True) == [second]


def test_the_answer_to_the_second_also_answers_the_first() -> None:
    finalizes = Finalizes()
    first, second = finalizes.ask(2000), finalizes.ask(4000)
    assert finalizes.settle(4000, from_finalize=True) == [first, second]


def test_two_at_the_same_place_are_answered_together() -> None:
    finalizes = Finalizes()
    first, second = finalizes.ask(2000), finalizes.ask(2000)
    assert finalizes.settle(2000, from_finalize=True) == [first, second]


def test_the_answer_to_the_first_leaves_the_second_open() -> None:
    finalizes = Finalizes()
    first, second = finalizes.ask(2000), finalizes.ask(4000)
    assert finalizes.settle(2000, from_finalize=True) == [first]
    assert second.open


def test_an_answer_is_waited_for_until_it_is_there_or_not_expected_any_more() -> None:
    finalizes = Finalizes()
    assert not finalizes.waiting
    asked = finalizes.ask(2000)
    assert finalizes.waiting
    finalizes.settle(2000, from_finalize=True)
    assert not finalizes.waiting
    asked = finalizes.ask(4000, silent_from_ms=3000)
    assert finalizes.waiting
    assert finalizes.expire(asked) == [asked]
    assert not finalizes.waiting
