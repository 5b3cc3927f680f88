"""The playback clock as tables: pieces go out, marks come back."""

import pytest

from services.gateway.playback import PlaybackClock
from shared.messages import AudioOut, Playback


def piece(generation: int, offset_ms: int, ms: int, text: str = "", *, last: bool = False, at: float = 1.0) -> AudioOut:
    return AudioOut(1, generation, 1, offset_ms, at - 0.1, at, b"\x00" * (ms * 8), text, last)


def states(reports: tuple[Playback, ...]) -> list[tuple[int, str, int, str]]:
    return [(report.generation, report.state, report.heard_ms, report.heard) for report in reports]


def test_a_reply_is_heard_mark_by_mark() -> None:
    clock = PlaybackClock()
    first = clock.admit(piece(1, 0, 200, "Good "))
    second = clock.admit(piece(1, 200, 100, "day!", last=True))
    assert first and second
    assert states(first.reports) == [(1, "started", 0, "")]
    assert first.reports[0].synthesized_at == 1.0
    assert second.reports == ()
    assert clock.speaking
    assert states(clock.mark(first.mark)) == [(1, "playing", 200, "Good ")]
    assert states(clock.mark(second.mark)) == [(1, "finished", 300, "Good day!")]
    assert not clock.speaking
    assert clock.finished(1)


def test_the_last_piece_may_come_empty_after_everything_was_heard() -> None:
    clock = PlaybackClock()
    first = clock.admit(piece(1, 0, 200, "Yes."))
    assert first
    clock.mark(first.mark)
    end = clock.admit(piece(1, 200, 0, last=True))
    assert end
    assert states(end.reports) == [(1, "finished", 200, "Yes.")]


def test_a_reply_without_audio_is_finished_at_once() -> None:
    clock = PlaybackClock()
    end = clock.admit(piece(1, 0, 0, last=True))
    assert end
    assert states(end.reports) == [(1, "finished", 0, "")]


def test_clear_reports_only_what_was_heard() -> None:
    clock = PlaybackClock()
    first = clock.admit(piece(1, 0, 200, "One "))
    clock.admit(piece(1, 200, 200, "two.", last=True))
    assert first
    clock.mark(first.mark)
    must_clear, reports = clock.clear(2)
    assert must_clear
    assert states(reports) == [(1, "cleared", 200, "One ")]
    assert not clock.speaking


def test_clearing_a_reply_that_was_heard_says_nothing() -> None:
    clock = PlaybackClock()
    only = clock.admit(piece(1, 0, 200, "One.", last=True))
    assert only
    clock.mark(only.mark)
    assert clock.clear(2) == (False, ())


def test_an_older_clear_changes_nothing() -> None:
    clock = PlaybackClock()
    clock.admit(piece(3, 0, 200, "x"))
    assert clock.clear(3) == (False, ())
    assert clock.speaking


def test_a_newer_reply_clears_the_one_still_playing() -> None:
    clock = PlaybackClock()
    clock.admit(piece(1, 0, 200, "old"))
    newer = clock.admit(piece(2, 0, 200, "new"))
    assert newer
    assert newer.clear
    assert states(newer.reports) == [(1, "cleared", 0, ""), (2, "started", 0, "")]


def test_pieces_of_an_older_reply_are_dropped() -> None:
    clock = PlaybackClock()
    clock.clear(5)
    assert clock.admit(piece(4, 0, 200)) is None


def test_pieces_after_the_last_one_are_dropped() -> None:
    clock = PlaybackClock()
    only = clock.admit(piece(1, 0, 200, last=True))
    assert only
    clock.mark(only.mark)
    assert clock.admit(piece(1, 200, 200)) is None


@pytest.mark.parametrize("name", ["", "1", "1:", "1:x", ":200", "2:200", "0:200", "1:999999", "apology"])
def test_a_mark_that_is_not_of_this_reply_is_ignored(name: str) -> None:
    clock = PlaybackClock()
    clock.admit(piece(1, 0, 200, "x"))
    assert clock.mark(name) == ()


def test_marks_of_a_cleared_reply_that_come_late_are_ignored() -> None:
    clock = PlaybackClock()
    old = clock.admit(piece(1, 0, 200, "old"))
    assert old
    clock.clear(2)
    assert clock.mark(old.mark) == ()


def test_a_caller_who_hangs_up_hears_no_more() -> None:
    clock = PlaybackClock()
    first = clock.admit(piece(1, 0, 200, "One "))
    clock.admit(piece(1, 200, 200, "two.", last=True))
    assert first
    clock.mark(first.mark)
    assert states(clock.hang_up()) == [(1, "cleared", 200, "One ")]
    assert clock.hang_up() == ()
