"""The playback clock: when the caller heard a reply begin."""

import pytest

from shared.messages import Playback
from tests.playback_phone import START, Phone


@pytest.fixture
def phone() -> Phone:
    return Phone()


def moments(report: Playback) -> list[float]:
    """In ms since the call began; 0 where nothing is known."""
    times = (report.asked_at, report.synthesized_at, report.received_at, report.audible_at)
    return [round((at - START) * 1000) if at else 0 for at in times]


def test_the_start_tells_where_the_first_audio_was_when(phone: Phone) -> None:
    first, second = phone.at(1000).piece(200, "One "), phone.at(1100).piece(500, "two ")
    [started] = first.reports
    assert (started.turn_id, moments(started)) == (7, [800, 900, 1000, 0])
    [playing] = phone.at(1230).played(first).reports
    assert (playing.turn_id, moments(playing)) == (7, [0, 0, 0, 1030])
    assert moments(phone.at(1730).played(second).reports[0]) == [0, 0, 0, 0]


def test_silence_before_the_first_word_is_not_audible(phone: Phone) -> None:
    step = phone.piece(200, "One.", quiet_ms=120, last=True)
    [finished] = phone.at(230).played(step).reports
    assert finished.state == "finished"
    assert moments(finished) == [0, 0, 0, 150]


def test_a_piece_of_silence_leaves_the_question_to_the_next_mark(phone: Phone) -> None:
    quiet, loud = phone.piece(200, quiet_ms=200), phone.piece(200, "One.", quiet_ms=50)
    assert phone.at(210).played(quiet).reports == ()
    assert moments(phone.at(410).played(loud).reports[0]) == [0, 0, 0, 260]


def test_after_a_pause_nobody_asks_when_the_reply_was_audible(phone: Phone) -> None:
    phone.piece(200, "One.", last=True)
    phone.at(100).pause()
    assert moments(phone.at(900).played(phone.resume()).reports[0]) == [0, 0, 0, 0]


def test_a_reply_held_back_tells_when_it_came_and_when_it_was_audible(phone: Phone) -> None:
    phone.pause()
    phone.at(300).piece(200, "One.", last=True)
    resumed = phone.at(900).resume()
    assert moments(resumed.reports[1]) == [100, 200, 300, 0]
    assert moments(phone.at(1120).played(resumed).reports[0]) == [0, 0, 0, 920]
