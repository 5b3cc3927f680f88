"""The playback clock: a reply is paused and goes on, as after a cough."""

import pytest

from services.gateway.playback import Step
from tests.playback_phone import Phone, lengths, told


@pytest.fixture
def phone() -> Phone:
    return Phone()


def test_after_a_cough_the_reply_goes_on_at_the_word_where_it_stopped(phone: Phone) -> None:
    first = phone.piece(200, "One ")
    phone.piece(240, "two ")
    phone.piece(220, "three.", last=True)
    phone.at(200).played(first)
    paused = phone.at(300).pause()
    assert paused.clear
    assert told(paused) == [(1, "paused", 300, "One ")]
    assert not phone.clock.speaking
    resumed = phone.at(1500).resume()
    assert not resumed.clear
    assert lengths(resumed) == [240, 220]
    assert told(resumed) == [(1, "resumed", 300, "One ")]
    assert phone.clock.speaking
    assert told(phone.mark(resumed.play[0].mark)) == []
    assert told(phone.mark(resumed.play[1].mark)) == [(1, "finished", 660, "One two three.")]


def test_marks_that_a_pause_returns_mean_nothing(phone: Phone) -> None:
    first, second = phone.piece(200, "One "), phone.piece(200, "two.", last=True)
    phone.at(100).pause()
    assert phone.played(first) == Step()
    resumed = phone.at(1000).resume()
    assert phone.played(second) == Step()
    assert told(phone.at(1400).played(resumed)) == [(1, "finished", 400, "One two.")]


def test_a_word_spread_over_pieces_is_said_again_from_its_beginning(phone: Phone) -> None:
    phone.piece(100, "An ")
    phone.piece(250)
    phone.piece(250)
    phone.piece(150, "extraordinary ")
    phone.piece(200, "day.", last=True)
    assert told(phone.at(650).pause()) == [(1, "paused", 650, "An ")]
    assert lengths(phone.resume()) == [250, 250, 150, 200]


def test_what_comes_during_a_pause_waits_for_the_resume(phone: Phone) -> None:
    phone.piece(200, "One ")
    phone.at(100).pause()
    assert phone.piece(150, "two.", last=True) == Step()
    assert lengths(phone.at(900).resume()) == [200, 150]


def test_what_comes_after_a_resume_plays_behind_the_rest(phone: Phone) -> None:
    phone.piece(200, "One ")
    phone.at(100).pause()
    phone.at(500).resume()
    last = phone.at(550).piece(150, "two.", last=True)
    assert lengths(last) == [150]
    assert told(phone.at(699).pause()) == [(1, "paused", 199, "")]
    resumed = phone.at(1000).resume()
    assert lengths(resumed) == [200, 150]
    assert told(phone.at(1350).played(resumed)) == [(1, "finished", 350, "One two.")]


def test_after_a_resume_the_time_counts_from_the_word(phone: Phone) -> None:
    phone.piece(200, "One ")
    phone.piece(200, "two ")
    phone.piece(200, "three.", last=True)
    phone.at(300).pause()
    phone.at(1000).resume()
    assert told(phone.at(1050).clear()) == [(1, "cleared", 300, "One ")]


def test_a_second_pause_after_a_resume_stops_further_on(phone: Phone) -> None:
    phone.piece(200, "One ")
    phone.piece(200, "two ")
    phone.piece(200, "three.", last=True)
    phone.at(300).pause()
    phone.at(1000).resume()
    assert told(phone.at(1250).pause()) == [(1, "paused", 450, "One two ")]
    assert lengths(phone.at(2000).resume()) == [200]


def test_pausing_twice_does_nothing_more(phone: Phone) -> None:
    phone.piece(200, "One ")
    phone.at(100).pause()
    assert phone.at(150).pause() == Step()


def test_resuming_what_is_not_paused_does_nothing(phone: Phone) -> None:
    assert phone.resume() == Step()
    phone.piece(200, "One ")
    assert phone.resume() == Step()
    phone.at(100).pause()
    assert phone.resume(2) == Step()
    assert phone.resume(0) == Step()
    phone.resume()
    assert phone.resume() == Step()


def test_a_pause_for_an_older_reply_does_nothing(phone: Phone) -> None:
    phone.piece(200, "x", generation=3)
    assert phone.pause(2) == Step()
    assert phone.clock.speaking


def test_a_pause_for_a_reply_that_was_heard_does_nothing(phone: Phone) -> None:
    assert phone.pause(0) == Step()
    phone.played(phone.piece(200, "One.", last=True))
    assert phone.pause() == Step()


def test_a_reply_that_is_still_being_prepared_can_be_paused(phone: Phone) -> None:
    held = phone.pause()
    assert not held.clear
    assert told(held) == [(1, "paused", 0, "")]
    assert phone.at(300).piece(200, "One ") == Step()
    assert phone.at(400).piece(200, "two.", last=True) == Step()
    resumed = phone.at(900).resume()
    assert lengths(resumed) == [200, 200]
    assert told(resumed) == [(1, "resumed", 0, ""), (1, "started", 0, "")]
    assert told(phone.at(1300).played(resumed)) == [(1, "finished", 400, "One two.")]


def test_a_paused_reply_may_be_resumed_before_anything_has_come(phone: Phone) -> None:
    phone.pause()
    assert told(phone.resume()) == [(1, "resumed", 0, "")]
    assert told(phone.piece(200, "One.", last=True)) == [(1, "started", 0, "")]


def test_pausing_the_next_reply_drops_the_one_before(phone: Phone) -> None:
    phone.piece(200, "old")
    step = phone.at(100).pause(2)
    assert step.clear
    assert told(step) == [(1, "cleared", 100, ""), (2, "paused", 0, "")]


def test_a_pause_between_two_clauses_needs_no_clear(phone: Phone) -> None:
    phone.at(200).played(phone.piece(200, "Well, "))
    paused = phone.at(300).pause()
    assert not paused.clear
    assert told(paused) == [(1, "paused", 200, "Well, ")]
    assert phone.piece(200, "yes.", last=True) == Step()
    assert lengths(phone.resume()) == [200]


def test_a_paused_reply_with_nothing_left_to_say_is_finished(phone: Phone) -> None:
    phone.at(200).played(phone.piece(200, "Yes."))
    phone.at(300).pause()
    assert told(phone.piece(0, last=True)) == [(1, "finished", 200, "Yes.")]
    assert phone.resume() == Step()


def test_a_pause_after_the_last_sound_finishes_a_reply_whose_mark_is_on_its_way(phone: Phone) -> None:
    only = phone.piece(200, "Yes.", last=True)
    step = phone.at(230).pause()
    assert told(step) == [(1, "finished", 200, "Yes.")]
    assert phone.played(only) == Step()


def test_clearing_a_paused_reply_needs_no_second_clear(phone: Phone) -> None:
    phone.piece(200, "One ")
    phone.piece(200, "two.", last=True)
    phone.at(250).pause()
    step = phone.at(800).clear()
    assert not step.clear
    assert told(step) == [(1, "cleared", 250, "One ")]
    assert phone.resume() == Step()


def test_a_reply_that_never_began_is_cleared_when_it_was_paused(phone: Phone) -> None:
    phone.pause()
    assert told(phone.clear()) == [(1, "cleared", 0, "")]


def test_a_reply_without_words_keeps_two_seconds_at_most(phone: Phone) -> None:
    for count in range(50):
        phone.at((count + 1) * 100).played(phone.piece(100))
    phone.piece(100)
    phone.at(5050).pause()
    assert len(phone.resume().play) == 21
