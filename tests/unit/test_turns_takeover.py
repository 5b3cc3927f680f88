"""Turn-taking when another recogniser, or another worker of its own stage, takes over in mid-call."""

import pytest

from services.llm.record import Spoken
from services.llm.turns import Turns
from shared.messages import ReplyOnLine, SpeechFinal, SpeechStarted
from shared.messages.speech import Word
from shared.turn_taking import SilenceProfile
from tests.unit.test_turns import (
    QUIET,
    Done,
    Heard,
    _answered,
    _ring,
    at,
    final,
    hold,
    machine,
    partial,
    playback,
    started,
    stopped,
)


def begun(ms: int, t_ms: int, utterance: int = 1, *, epoch: int = 2, line: int = 1) -> Heard:
    """What `started` is, where the caller's timeline is not that of the table."""
    return ms, SpeechStarted(utterance=utterance, t_ms=t_ms, began_at=at(t_ms), epoch=epoch, line=line)


FIRST: list[Heard] = [
    begun(0, 0, epoch=1),
    partial(600, "a table for"),
    stopped(1100, ended_ms=900),
]
"""The caller's first words, as a recogniser hears them that dies then."""

EARS: dict[str, tuple[list[Heard], int | None, list[Done]]] = {
    "another one tells all of it": (
        [
            begun(1300, 0),
            final(1400, "a table for four", epoch=2),
            stopped(1450, ended_ms=900, epoch=2),
        ],
        1150,
        [(1450, "a table for four")],
    ),
    "nobody tells it: what was understood, after five seconds": ([], 1150, [(6150, "a table for")]),
    "a piece that was final is not told again": (
        [
            final(1120, "a table", complete=False),
            begun(1300, 500),
            final(1400, "for four", epoch=2),
            stopped(1450, ended_ms=900, epoch=2),
        ],
        1150,
        [(1450, "a table for four")],
    ),
    "it was told wholly: what another hears of it is known": (
        [
            final(1120, "a table for four"),
            begun(1160, 400),
            partial(1180, "four", epoch=2),
            final(1200, "for four", epoch=2),
            stopped(1210, ended_ms=900, epoch=2),
        ],
        1150,
        [(1400, "a table for four")],
    ),
    "it was answered: what another hears of it is known": (
        [
            final(1120, "a table for four"),
            begun(1600, 400),
            final(1700, "for four", epoch=2),
            stopped(1710, ended_ms=900, epoch=2),
        ],
        1550,
        [(1400, "a table for four")],
    ),
    "what follows it on the timeline is new": (
        [
            final(1120, "a table for four"),
            begun(2600, 2000),
            stopped(2700, ended_ms=2500, epoch=2),
            final(2750, "at eight", epoch=2),
        ],
        1550,
        [(1400, "a table for four"), (2750, "!"), (3000, "at eight")],
    ),
    "another line has another timeline": (
        [
            final(1120, "a table for four"),
            begun(2600, 400, line=2),
            stopped(2700, ended_ms=900, epoch=2),
            final(2750, "at eight", epoch=2),
        ],
        1550,
        [(1400, "a table for four"), (2750, "!"), (2750, "at eight")],
    ),
}


@pytest.mark.parametrize("call", EARS)
def test_another_recogniser_takes_over(call: str) -> None:
    events, taken_ms, expected = EARS[call]
    turns = machine(silence=SilenceProfile(reprompt_s=0))
    done = hold(turns, *FIRST, until=1100)
    turns.stt_lost(1)
    before = [event for event in events if taken_ms is None or event[0] < taken_ms]
    done += hold(turns, *before, until=taken_ms) if before else []
    while turns.deadline is not None and taken_ms is not None and turns.deadline <= at(taken_ms):
        done += _ring(turns)
    turns.stt_taken(2, at(taken_ms or 0))
    rest = [event for event in events if event not in before]
    done += hold(turns, *(rest or [playback(taken_ms or 0, 0, "playing")]), until=8000)
    assert done == expected


def test_a_recogniser_that_is_lost_for_long_costs_no_half_turn() -> None:
    turns = machine(max_turn_s=20)
    hold(turns, *FIRST, until=1100)
    turns.stt_lost(1)
    assert hold(turns, playback(1200, 0, "playing"), until=19_000) == []
    assert hold(turns, playback(19_000, 0, "playing"), until=21_000) == [(20_000, "a table for")]


def test_words_behind_what_was_told_are_new_though_they_come_in_one_breath() -> None:
    turns = machine()
    assert hold(turns, *FIRST, final(1120, "a table"), until=1450) == [(1400, "a table")]
    words = (Word(text="table", start_ms=500, end_ms=800), Word(text="please", start_ms=1000, end_ms=1300))
    told = SpeechFinal(utterance=1, text="table please", words=words, complete=True, epoch=2)
    said = [begun(1600, 400), (1700, told), stopped(1800, ended_ms=1400, epoch=2)]
    assert hold(turns, playback(1500, 1000, "finished"), *said, until=4000) == [(1900, "please")]


def test_a_successor_knows_what_was_answered_and_asked() -> None:
    first = machine(silence=QUIET)
    first.begin(at(0))
    assert _ring(first) == [(4000, "says Hello?")]
    _answered(first, 1, 4000)
    hold(first, started(5500), stopped(5900, ended_ms=5700), final(5950, "..."), until=6500)
    second = Turns(first.profile, first.standing)
    second.resume(at(6600), None, ReplyOnLine())
    assert _ring(second) == [(10_600, "says Still there?")]


def test_a_reply_that_another_worker_paused_waits_for_what_the_caller_was_saying() -> None:
    line = ReplyOnLine(generation=1, started=True, paused=True)
    reply = Spoken(generation=1, turn_id=1, pieces=["We are open from noon until eleven."])
    turns = machine()
    turns.resume(at(0), reply, line)
    assert _ring(turns) == [(300, "resume")]
    turns = machine()
    turns.resume(at(0), reply, line)
    said = [started(0), partial(100, "where are you"), stopped(200, ended_ms=100), final(210, "where are you")]
    assert hold(turns, *said)[0] == (100, "!")
