"""The playback clock: pieces go out, time passes, marks come back, the caller interrupts."""

import pytest

from services.gateway.playback import Step
from tests.playback_phone import Phone, lengths, told


@pytest.fixture
def phone() -> Phone:
    return Phone()


def test_a_reply_is_heard_mark_by_mark(phone: Phone) -> None:
    first = phone.piece(200, "Good ")
    second = phone.piece(100, "day!", last=True)
    assert told(first) == [(1, "started", 0, "")]
    assert (lengths(first), lengths(second)) == ([200], [100])
    assert second.reports == ()
    assert phone.clock.speaking
    assert told(phone.at(200).played(first)) == [(1, "playing", 200, "Good ")]
    assert told(phone.at(300).played(second)) == [(1, "finished", 300, "Good day!")]
    assert not phone.clock.speaking


def test_a_mark_speaks_for_all_audio_before_it(phone: Phone) -> None:
    first, second = phone.piece(200, "Good "), phone.piece(100, "day!", last=True)
    assert told(phone.at(300).played(second)) == [(1, "finished", 300, "Good day!")]
    assert phone.played(first) == Step()


def test_playing_tells_only_what_the_marks_prove(phone: Phone) -> None:
    first, second = phone.piece(500, "One "), phone.piece(500, "two ")
    phone.piece(500, "three.", last=True)
    # The way back from the carrier takes 300 ms.
    assert told(phone.at(800).played(first)) == [(1, "playing", 500, "One ")]
    assert told(phone.at(1300).played(second)) == [(1, "playing", 1000, "One two ")]


def test_while_it_plays_it_is_told_twice_a_second_at_most(phone: Phone) -> None:
    pieces = [phone.piece(200, f"{number} ") for number in range(7)]
    reports = [[heard_ms for _, _, heard_ms, _ in told(phone.played(piece))] for piece in pieces]
    # The first one tells when the reply was audible.
    assert reports == [[200], [], [], [800], [], [], [1400]]


def test_the_last_piece_may_come_empty_after_everything_was_heard(phone: Phone) -> None:
    phone.at(200).played(phone.piece(200, "Yes."))
    assert told(phone.piece(0, last=True)) == [(1, "finished", 200, "Yes.")]


def test_the_last_word_may_come_without_audio(phone: Phone) -> None:
    first = phone.piece(200)
    phone.piece(0, "Yes.", last=True)
    assert told(phone.at(200).played(first)) == [(1, "finished", 200, "Yes.")]


def test_a_reply_without_audio_is_finished_at_once(phone: Phone) -> None:
    assert told(phone.piece(0, last=True)) == [(1, "finished", 0, "")]


def test_a_word_spread_over_pieces_is_heard_at_its_end(phone: Phone) -> None:
    parts = [phone.piece(500), phone.piece(500), phone.piece(100, "Extraordinary!", last=True)]
    assert [told(phone.played(part))[0][3] for part in parts] == ["", "", "Extraordinary!"]


def test_pieces_of_an_older_reply_are_dropped(phone: Phone) -> None:
    phone.clear(5)
    assert phone.piece(200, generation=4) == Step()


def test_pieces_after_the_last_one_are_dropped(phone: Phone) -> None:
    phone.piece(200, last=True)
    assert phone.piece(200) == Step()


def test_a_newer_reply_clears_the_one_still_playing(phone: Phone) -> None:
    phone.piece(200, "old")
    newer = phone.piece(200, "new", generation=2)
    assert newer.clear
    assert lengths(newer) == [200]
    assert told(newer) == [(1, "cleared", 0, ""), (2, "started", 0, "")]


@pytest.mark.parametrize("name", ["", "1", "1:1", "1:1:", "1:1:x", ":200", "2:1:200", "1:2:200", "1:1:999", "apology"])
def test_a_mark_that_was_never_sent_is_ignored(phone: Phone, name: str) -> None:
    phone.piece(200, "x")
    assert phone.mark(name) == Step()


def test_clear_tells_the_words_heard_between_two_marks(phone: Phone) -> None:
    first = phone.piece(200, "One ")
    phone.piece(200, "two ")
    phone.piece(200, "three.", last=True)
    phone.at(200).played(first)
    step = phone.at(450).clear()
    assert step.clear
    assert told(step) == [(1, "cleared", 450, "One two ")]
    assert not phone.clock.speaking


def test_a_word_that_was_cut_short_was_not_heard(phone: Phone) -> None:
    phone.piece(200, "One ")
    phone.piece(200, "two.", last=True)
    assert told(phone.at(399).clear()) == [(1, "cleared", 399, "One ")]


def test_before_the_first_mark_the_time_since_the_start_counts(phone: Phone) -> None:
    phone.at(1000).piece(300, "Good ")
    assert told(phone.at(1299).clear()) == [(1, "cleared", 299, "")]


def test_no_more_was_heard_than_was_sent(phone: Phone) -> None:
    phone.piece(200, "One ")
    assert told(phone.at(5000).clear()) == [(1, "cleared", 200, "One ")]


def test_after_a_gap_the_next_piece_plays_when_it_comes(phone: Phone) -> None:
    phone.piece(200, "One ")
    phone.at(1000).piece(200, "two.")
    assert told(phone.at(1150).clear()) == [(1, "cleared", 350, "One ")]


def test_a_mark_that_took_its_time_sets_the_clock_right(phone: Phone) -> None:
    first = phone.piece(200, "One ")
    phone.piece(200, "two.")
    # The carrier began late: what the time alone says would be too much.
    phone.at(390).played(first)
    assert told(phone.at(400).clear()) == [(1, "cleared", 210, "One ")]


def test_a_clock_that_is_set_back_takes_nothing_back(phone: Phone) -> None:
    phone.at(5000).played(phone.piece(200, "One "))
    phone.piece(200, "two.")
    assert told(phone.at(0).clear()) == [(1, "cleared", 200, "One ")]


def test_clearing_a_reply_that_was_heard_says_nothing(phone: Phone) -> None:
    phone.played(phone.piece(200, "One.", last=True))
    assert phone.clear() == Step()


def test_an_older_clear_changes_nothing(phone: Phone) -> None:
    phone.piece(200, "x", generation=3)
    assert phone.clear(3) == Step()
    assert phone.clock.speaking


def test_marks_of_a_cleared_reply_that_come_late_are_ignored(phone: Phone) -> None:
    old = phone.piece(200, "old")
    phone.clear()
    assert phone.played(old) == Step()


def test_a_caller_who_hangs_up_hears_no_more(phone: Phone) -> None:
    phone.piece(200, "One ")
    phone.piece(200, "two.", last=True)
    phone.at(250)
    assert told(phone.clock.stop(phone.now)) == [(1, "cleared", 250, "One ")]
    assert phone.clock.stop(phone.now) == Step()
