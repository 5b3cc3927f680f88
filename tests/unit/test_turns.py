"""Turn-taking as phone calls: what is heard at which millisecond, and what follows from it."""

from collections.abc import Sequence

import pytest

from services.llm.actions import Action, Commit, Interrupt
from services.llm.turns import Event, Turns
from shared.messages import Playback, SpeechFinal, SpeechPartial, SpeechStarted, SpeechStopped
from shared.turn_taking import BargeInProfile, TurnProfile

T0 = 1_700_000_000.0
Heard = tuple[int, Event]
Done = tuple[int, str]


def at(ms: int) -> float:
    return T0 + ms / 1000


def started(ms: int, utterance: int = 1, epoch: int = 1) -> Heard:
    return ms, SpeechStarted(utterance=utterance, t_ms=ms, epoch=epoch)


def partial(ms: int, text: str, utterance: int = 1, epoch: int = 1) -> Heard:
    return ms, SpeechPartial(utterance=utterance, text=text, epoch=epoch)


def final(ms: int, text: str, utterance: int = 1, *, complete: bool = True, epoch: int = 1) -> Heard:
    return ms, SpeechFinal(utterance=utterance, text=text, complete=complete, epoch=epoch)


def stopped(ms: int, utterance: int = 1, *, ended_ms: int, epoch: int = 1) -> Heard:
    return ms, SpeechStopped(utterance=utterance, t_ms=ended_ms, ended_at=at(ended_ms), epoch=epoch)


def playback(ms: int, generation: int, state: str) -> Heard:
    return ms, Playback.model_validate({"generation": generation, "state": state, "heard_ms": 0, "heard": ""})


def _read(ms: int, actions: Sequence[Action]) -> list[Done]:
    return [(ms, action.text if isinstance(action, Commit) else "!") for action in actions]


def hold(turns: Turns, *events: Heard) -> list[Done]:
    """What the machine did and when: a text is a commit, "!" an interruption. The timer rings at each deadline."""
    done: list[Done] = []
    for ms, event in events:
        while turns.deadline is not None and turns.deadline < at(ms):
            done += _ring(turns)
        done += _read(ms, turns.handle(event, at(ms)))
    while turns.deadline is not None:
        done += _ring(turns)
    return done


def _ring(turns: Turns) -> list[Done]:
    deadline = turns.deadline
    assert deadline is not None
    actions = turns.tick(deadline)
    assert actions, "a deadline at which nothing happens would ring for ever"
    return _read(round((deadline - T0) * 1000), actions)


CALLS: dict[str, tuple[list[Heard], list[Done]]] = {
    "the final comes before the wait is over: commit at the end of the wait, not before": (
        [started(0), partial(400, "what are"), stopped(1200, ended_ms=1000), final(1250, "what are your hours")],
        [(1500, "what are your hours")],
    ),
    "the final comes after the wait: commit with it": (
        [started(0), stopped(1200, ended_ms=1000), final(1700, "what are your hours")],
        [(1700, "what are your hours")],
    ),
    "the final never comes: commit what was understood": (
        [started(0), partial(900, "what are your hours"), stopped(1200, ended_ms=1000)],
        [(2500, "what are your hours")],
    ),
    "the final never comes, but a piece of it did": (
        [
            started(0),
            final(700, "what are", complete=False),
            partial(900, "your hours"),
            stopped(1200, ended_ms=1000),
        ],
        [(2500, "what are your hours")],
    ),
    "a late final of a turn that was committed without it belongs to no other turn": (
        [
            started(0),
            partial(900, "what are"),
            stopped(1200, ended_ms=1000),
            final(3000, "what are your hours"),
            started(4000, 2),
            stopped(4900, 2, ended_ms=4800),
            final(4950, "hello", 2),
        ],
        [(2500, "what are"), (5300, "hello")],
    ),
    "words that come very late still count when nothing was understood before": (
        [started(0), stopped(1200, ended_ms=1000), final(4000, "what are your hours")],
        [(4000, "what are your hours")],
    ),
    "the caller goes on before the wait is over: one turn": (
        [
            started(0),
            stopped(1200, ended_ms=1000),
            final(1250, "I would like"),
            started(1400, 2),
            stopped(2300, 2, ended_ms=2200),
            final(2350, "to book a table", 2),
        ],
        [(2700, "I would like to book a table")],
    ),
    "the caller goes on after the commit: two turns": (
        [
            started(0),
            stopped(1200, ended_ms=1000),
            final(1250, "I would like"),
            started(1600, 2),
            stopped(2300, 2, ended_ms=2200),
            final(2350, "to book a table", 2),
        ],
        [(1500, "I would like"), (2700, "to book a table")],
    ),
    "the first of two finals is still missing: wait for it": (
        [
            started(0),
            stopped(1000, ended_ms=1000),
            started(1100, 2),
            stopped(1600, 2, ended_ms=1600),
            final(1650, "a table", 2),
            final(2400, "I want"),
        ],
        [(2400, "I want a table")],
    ),
    "a cough is no turn": (
        [started(0), stopped(400, ended_ms=200), final(450, "")],
        [],
    ),
    "a final of nothing but punctuation is no turn": (
        [started(0), stopped(400, ended_ms=200), final(450, "...")],
        [],
    ),
    "a cough after the words makes the wait longer, but adds none": (
        [
            started(0),
            stopped(1000, ended_ms=1000),
            final(1050, "hello"),
            started(1300, 2),
            stopped(1500, 2, ended_ms=1400),
            final(1700, "", 2),
        ],
        [(1700, "hello")],
    ),
    "the stop becomes known after the wait: commit at once": (
        [started(0), final(900, "hello"), stopped(1900, ended_ms=1000)],
        [(1900, "hello")],
    ),
    "the clock of the recogniser runs ahead: wait no longer for it": (
        [started(0), final(900, "hello"), stopped(1000, ended_ms=61_000)],
        [(1500, "hello")],
    ),
    "the worker joined in mid-utterance and never saw its beginning": (
        [partial(100, "your hours"), stopped(300, ended_ms=200), final(400, "your hours")],
        [(700, "your hours")],
    ),
    "the stop is lost on the way, but the caller speaks again": (
        [
            started(0),
            final(700, "I want"),
            started(2000, 2),
            stopped(2900, 2, ended_ms=2800),
            final(2950, "a table", 2),
        ],
        [(3300, "I want a table")],
    ),
    "another recogniser takes over in mid-utterance and counts from 1 again": (
        [
            started(0, 7),
            final(300, "I want", 7, complete=False),
            partial(500, "a tab", 7),
            started(900, 1, epoch=2),
            stopped(1500, 1, ended_ms=1400, epoch=2),
            final(1600, "a table", 1, epoch=2),
        ],
        [(1900, "I want a table")],
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_callers_turn(call: str) -> None:
    events, expected = CALLS[call]
    turns = Turns(TurnProfile(endpointing_ms=500, final_timeout_ms=1500))
    assert hold(turns, *events) == expected


INTERRUPTIONS: dict[str, tuple[list[Heard], list[Done]]] = {
    "a partial with words stops the reply once": (
        [started(0), partial(200, "no"), partial(300, "no wait"), stopped(900, ended_ms=800), final(950, "no wait")],
        [(200, "!"), (1300, "no wait")],
    ),
    "a final with words stops it too": (
        [started(0), final(800, "no wait"), stopped(900, ended_ms=800)],
        [(800, "!"), (1300, "no wait")],
    ),
    "noise does not": (
        [started(0), partial(200, "  "), partial(300, "…"), stopped(400, ended_ms=300), final(500, "")],
        [],
    ),
    "a reply that was heard to its end cannot be interrupted": (
        [playback(0, 1, "finished"), started(100), stopped(800, ended_ms=700), final(850, "thank you")],
        [(1200, "thank you")],
    ),
    "a reply that was cleared cannot either": (
        [playback(0, 1, "cleared"), started(100), partial(300, "thank"), stopped(800, ended_ms=700), final(850, "ok")],
        [(1200, "ok")],
    ),
    "the end of another reply means nothing": (
        [playback(0, 0, "finished"), playback(10, 1, "started"), playback(20, 1, "playing"), partial(100, "stop")],
        [(100, "!")],
    ),
}


@pytest.mark.parametrize("call", INTERRUPTIONS)
def test_barge_in_while_the_agent_speaks(call: str) -> None:
    events, expected = INTERRUPTIONS[call]
    turns = Turns(TurnProfile(endpointing_ms=500))
    turns.reply_began(1)
    assert hold(turns, *events) == expected


def test_a_late_final_of_the_turn_that_is_being_answered_is_no_interruption() -> None:
    turns = Turns(TurnProfile(final_timeout_ms=1500))
    assert hold(turns, started(0), partial(900, "hello"), stopped(1200, ended_ms=1000)) == [(2500, "hello")]
    turns.reply_began(1)
    assert hold(turns, final(3000, "hello there")) == []


def test_without_barge_in_the_turn_waits_for_the_reply_to_end() -> None:
    turns = Turns(TurnProfile(endpointing_ms=500, barge_in=BargeInProfile(enabled=False)))
    turns.reply_began(1)
    said = [started(0), partial(200, "no"), stopped(900, ended_ms=800), final(950, "no wait")]
    assert hold(turns, *said) == []
    assert turns.deadline is None
    ended = playback(4000, 1, "finished")
    assert turns.handle(ended[1], at(4000)) == [Commit("no wait", ended_at=at(800), due_at=at(4000))]


def test_words_from_before_the_reply_void_it_when_they_become_a_turn() -> None:
    turns = Turns(TurnProfile(endpointing_ms=500))
    assert hold(turns, started(0)) == []
    turns.handle(final(300, "hello")[1], at(300))
    turns.reply_began(1)
    turns.handle(stopped(400, ended_ms=300)[1], at(400))
    assert turns.tick(at(800)) == [Interrupt(), Commit("hello", ended_at=at(300), due_at=at(800))]


def test_nothing_happens_before_the_deadline_and_only_once_at_it() -> None:
    turns = Turns(TurnProfile(endpointing_ms=500))
    for ms, event in (started(0), final(300, "hello"), stopped(400, ended_ms=300)):
        assert turns.handle(event, at(ms)) == []
    assert turns.deadline == at(800)
    assert turns.tick(at(799)) == []
    assert turns.tick(at(800)) == [Commit("hello", ended_at=at(300), due_at=at(800))]
    assert turns.tick(at(801)) == []
    assert turns.deadline is None


def test_a_commit_says_how_long_it_waited_for_the_transcript_alone() -> None:
    turns = Turns(TurnProfile(endpointing_ms=500))
    for ms, event in (started(0), stopped(1200, ended_ms=1000)):
        assert turns.handle(event, at(ms)) == []
    ms, event = final(1800, "hello")
    assert turns.handle(event, at(ms)) == [Commit("hello", ended_at=at(1000), due_at=at(1500))]
