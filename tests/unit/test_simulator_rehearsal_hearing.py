"""What the carrier played of a reply, found byte by byte in the agent track."""

from itertools import accumulate

import pytest

from shared.audio import RATE, SILENCE, bytes_of
from shared.messages.audio import Spoken, WordEnd
from simulator.rehearsal.hearing import Hearing, Rendered
from tests.simulator_reply import TEXT, audio, pieces

REPLY = Rendered.of(pieces())
WHOLE = audio()
BEFORE = SILENCE * RATE


def end_of(word: str) -> int:
    """Where a word of the reply ends, in bytes."""
    return next(end for end, text in REPLY.ends if text.split()[-1:] == [word])


def heard(track: bytes, began: float = 100.0) -> Hearing:
    return Hearing.of(REPLY, track, began)


def test_a_reply_that_was_played_to_its_end_is_complete() -> None:
    hearing = heard(BEFORE + WHOLE + SILENCE * 4000)
    assert hearing.complete
    assert hearing.words == pytest.approx(9)
    assert hearing.lost_ms == 0
    assert hearing.repeated_words == 0
    assert hearing.began == pytest.approx(101.0, abs=0.01)
    assert hearing.ended == pytest.approx(101.0 + len(WHOLE) / RATE, abs=0.05)


def test_a_reply_that_was_cut_is_known_to_the_word() -> None:
    middle_of_tomato = (end_of("with") + end_of("tomato")) // 2
    hearing = heard(BEFORE + WHOLE[:middle_of_tomato] + SILENCE * 8000)
    assert not hearing.complete
    assert hearing.position == pytest.approx(middle_of_tomato, abs=2)
    assert 3 <= hearing.words <= 3.6
    assert hearing.lost_ms == 0


def test_a_reply_that_went_on_at_the_word_where_it_stopped_lost_and_repeated_nothing() -> None:
    middle_of_tomato = (end_of("with") + end_of("tomato")) // 2
    hearing = heard(BEFORE + WHOLE[:middle_of_tomato] + SILENCE * RATE + WHOLE[end_of("with") :])
    assert hearing.complete
    assert hearing.lost_ms == 0
    assert hearing.repeated_words == 0
    paused = 101.0 + middle_of_tomato / RATE
    assert hearing.resumed(paused + 0.01) == pytest.approx(paused + 1.0, abs=0.02)


def test_words_that_were_never_played_are_lost() -> None:
    hearing = heard(BEFORE + WHOLE[: end_of("with")] + SILENCE * RATE + WHOLE[end_of("soup") :])
    assert hearing.complete
    assert hearing.lost_ms > 300


def test_words_that_were_played_twice_are_counted() -> None:
    hearing = heard(BEFORE + WHOLE[: end_of("soup")] + SILENCE * RATE + WHOLE[end_of("start") :])
    assert hearing.complete
    assert hearing.repeated_words == 3


def test_another_reply_is_not_taken_for_this_one() -> None:
    hearing = heard(BEFORE + audio("You find us behind the old market hall."))
    assert hearing.stretches == []
    assert hearing.began is None
    assert hearing.ended is None
    assert hearing.words == 0
    assert not hearing.complete


def test_a_reply_whose_last_piece_never_came_is_not_complete() -> None:
    part = Rendered.of(pieces()[:6])
    assert not Hearing.of(part, part.audio, 0.0).complete
    assert part.words == TEXT.lower().split()[:3]


def test_a_reply_without_audio_has_no_words() -> None:
    assert Rendered.of([]).words == []
    assert Hearing.of(Rendered.of([]), WHOLE, 0.0).stretches == []


def test_a_stutter_within_the_reply_loses_nothing() -> None:
    at = end_of("start") + bytes_of(70)
    hearing = heard(BEFORE + WHOLE[:at] + SILENCE * bytes_of(120) + WHOLE[at:])
    assert hearing.complete
    assert hearing.lost_ms == 0
    assert len(hearing.stretches) == 2


def test_words_that_came_in_one_message_are_told_apart() -> None:
    some = pieces()[:6]
    ends = accumulate(len(piece.payload) for piece in some)
    words = Spoken(WordEnd(end, piece.text) for end, piece in zip(ends, some, strict=True))
    message = some[0]._replace(payload=b"".join(piece.payload for piece in some), text=words)
    assert Rendered.of([message, *pieces()[6:]]) == REPLY
