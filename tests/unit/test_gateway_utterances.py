"""From where another worker must hear the caller, by what stt has told."""

from services.gateway.utterances import Utterances


def test_without_an_utterance_the_last_second_before_the_loss_is_needed() -> None:
    utterances = Utterances()
    assert utterances.needed_from(5000) == 4000
    assert utterances.needed_from(400) == 0


def test_a_stage_that_answers_at_once_needs_only_what_came_after_it_was_lost() -> None:
    assert Utterances().needed_from(5000, unsure_ms=0) == 5000


def test_an_open_utterance_is_needed_from_a_little_before_its_beginning() -> None:
    utterances = Utterances()
    utterances.started(1, 2000)
    assert utterances.open
    assert utterances.needed_from(9000) == 1700


def test_what_was_told_of_an_open_utterance_is_not_needed() -> None:
    utterances = Utterances()
    utterances.started(1, 2000)
    utterances.final(1, 4200, complete=False)
    assert utterances.needed_from(9000) == 4200
    utterances.final(1, None, complete=False)
    assert utterances.needed_from(9000) == 4200


def test_a_complete_utterance_is_not_needed() -> None:
    utterances = Utterances()
    utterances.started(1, 2000)
    utterances.final(1, 4800, complete=True)
    assert not utterances.open
    assert utterances.needed_from(5000) == 4800
    assert utterances.settled_ms == 4800


def test_an_utterance_whose_end_is_not_known_was_told_to_its_beginning_at_least() -> None:
    utterances = Utterances()
    utterances.started(1, 2000)
    utterances.final(1, None, complete=True)
    assert utterances.settled_ms == 1700
    assert utterances.needed_from(2100) == 1700


def test_the_beginning_that_is_told_after_the_end_opens_nothing() -> None:
    utterances = Utterances()
    utterances.final(1, 4800, complete=True)
    utterances.started(1, 2000)
    assert not utterances.open


def test_of_two_open_utterances_the_earlier_one_counts() -> None:
    utterances = Utterances()
    utterances.started(1, 2000)
    utterances.started(2, 4000)
    assert utterances.needed_from(9000) == 1700
    utterances.final(1, 3900, complete=True)
    assert utterances.needed_from(9000) == 3900


def test_a_worker_that_is_lost_while_it_catches_up_leaves_all_of_it() -> None:
    utterances = Utterances()
    utterances.started(5, 2000)
    utterances.restarted(1700, at_ms=6000)
    assert not utterances.open
    assert utterances.needed_from(6500) == 1700
    assert utterances.needed_from(7500) == 6500


def test_another_worker_counts_from_the_beginning() -> None:
    utterances = Utterances()
    utterances.final(5, 4000, complete=True)
    utterances.restarted(4000, at_ms=6000)
    utterances.started(1, 8000)
    assert utterances.needed_from(20_000) == 7700
