"""Turn-taking as phone calls: what is heard at which millisecond, and what follows from it."""

from collections.abc import Sequence
from typing import Any

import pytest

from services.llm.actions import Action, Commit, HangUp, Interrupt, Pause, Resume, Say, Speculate
from services.llm.turns import Event, Turns
from shared.messages import (
    Digit,
    Playback,
    SpeechFinal,
    SpeechPartial,
    SpeechStarted,
    SpeechStopped,
    SpeechSustained,
)
from shared.turn_taking import BargeInProfile, HoldProfile, SilenceProfile, TurnProfile

T0 = 1_700_000_000.0
Heard = tuple[int, Event]
Done = tuple[int, str]


def at(ms: int) -> float:
    return T0 + ms / 1000


def started(ms: int, utterance: int = 1, epoch: int = 1) -> Heard:
    return ms, SpeechStarted(utterance=utterance, t_ms=ms, began_at=at(ms), epoch=epoch)


def sustained(ms: int, utterance: int = 1, *, speech_ms: int = 250) -> Heard:
    return ms, SpeechSustained(utterance=utterance, t_ms=ms, speech_ms=speech_ms, reached_at=at(ms), epoch=1)


def partial(ms: int, text: str, utterance: int = 1, epoch: int = 1, *, likely_over: bool = False) -> Heard:
    return ms, SpeechPartial(utterance=utterance, text=text, epoch=epoch, likely_over=likely_over)


def final(
    ms: int, text: str, utterance: int = 1, *, complete: bool = True, epoch: int = 1, turn_over: bool = False
) -> Heard:
    return ms, SpeechFinal(utterance=utterance, text=text, complete=complete, epoch=epoch, turn_over=turn_over)


def stopped(ms: int, utterance: int = 1, *, ended_ms: int, late_ms: int = 0, epoch: int = 1) -> Heard:
    return ms, SpeechStopped(utterance=utterance, t_ms=ended_ms, ended_at=at(ended_ms + late_ms), epoch=epoch)


def playback(ms: int, generation: int, state: str) -> Heard:
    return ms, Playback.model_validate({"generation": generation, "state": state, "heard_ms": 0, "heard": ""})


def key(ms: int, digit: str) -> Heard:
    return ms, Digit(digit=digit)


def _read(ms: int, actions: Sequence[Action]) -> list[Done]:
    words = {Pause: "pause", Resume: "resume", Interrupt: "!"}
    done = []
    for action in actions:
        if isinstance(action, Commit):
            done.append((ms, action.text))
        elif isinstance(action, Say):
            done.append((ms, f"says {action.text}{' and leaves' if action.farewell else ''}"))
        elif isinstance(action, HangUp):
            done.append((ms, f"hangs up: {action.reason}"))
        elif isinstance(action, Speculate):
            done.append((ms, f"prepares {action.text}"))
        else:
            done.append((ms, words[type(action)]))
    return done


def hold(turns: Turns, *events: Heard, until: int | None = None) -> list[Done]:
    """What the machine did and when: a text is a commit, "!" an interruption. The timer rings at each deadline
    until some seconds after the last event."""
    done: list[Done] = []
    for ms, event in events:
        while turns.deadline is not None and turns.deadline < at(ms):
            done += _ring(turns)
        done += _obey(turns, ms, turns.handle(event, at(ms)))
    end = events[-1][0] + 5000 if until is None else until
    while turns.deadline is not None and turns.deadline <= at(end):
        done += _ring(turns)
    return done


def _ring(turns: Turns) -> list[Done]:
    deadline = turns.deadline
    assert deadline is not None
    actions = turns.tick(deadline)
    assert actions or turns.deadline != deadline, "a deadline at which nothing happens would ring for ever"
    return _obey(turns, round((deadline - T0) * 1000), actions)


def _obey(turns: Turns, ms: int, actions: Sequence[Action]) -> list[Done]:
    if any(isinstance(action, Commit | Say) for action in actions):
        turns.reply_began(1000, at(ms))
    return _read(ms, actions)


def machine(speculation: bool = False, **settings: Any) -> Turns:
    return Turns(TurnProfile(speculation=speculation, **settings))


def speaking(**settings: Any) -> Turns:
    """The agent is to be heard: its reply 1 began 2 s ago."""
    turns = machine(**settings)
    turns.reply_began(1, at(-2000))
    turns.agent_said("We are open from noon until eleven at night, every day of the week.", at(-2000))
    turns.handle(playback(-1900, 1, "started")[1], at(-1900))
    return turns


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
        [(2500, "what are"), (4950, "!"), (5300, "hello")],
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
            final(1250, "I want a table"),
            started(1600, 2),
            stopped(2300, 2, ended_ms=2200),
            final(2350, "for four", 2),
        ],
        [(1500, "I want a table"), (2350, "!"), (2700, "for four")],
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
    "a trailing and: the caller thinks": (
        [started(0), stopped(1200, ended_ms=1000), final(1250, "I would like a table and")],
        [(2200, "I would like a table and")],
    ),
    "a trailing comma, and then he goes on": (
        [
            started(0),
            stopped(1200, ended_ms=1000),
            final(1250, "On Friday,"),
            started(2000, 2),
            stopped(2800, 2, ended_ms=2600),
            final(2850, "no, on Saturday.", 2),
        ],
        [(3100, "On Friday, no, on Saturday.")],
    ),
    "half a number": (
        [started(0), stopped(1200, ended_ms=1000), final(1250, "my order number is one two three")],
        [(2200, "my order number is one two three")],
    ),
    "a whole number": (
        [started(0), stopped(1200, ended_ms=1000), final(1250, "my order number is one two three four")],
        [(1500, "my order number is one two three four")],
    ),
    "the provider knows that the turn is over: no wait": (
        [started(0), partial(900, "hello", likely_over=True), final(1100, "hello", turn_over=True)],
        [(1100, "hello")],
    ),
    "the provider knows it after the voice fell silent": (
        [started(0), stopped(1000, ended_ms=800), final(1100, "hello and", turn_over=True)],
        [(1100, "hello and")],
    ),
    "the end becomes known seconds late, because another recogniser heard it: its words are waited for": (
        [started(0), partial(900, "hello"), stopped(4000, ended_ms=1000), partial(4100, "hello"), final(4900, "hello")],
        [(4900, "hello")],
    ),
    "the recogniser asks for patience: its words are waited for": (
        [started(0), partial(900, "one"), stopped(1200, ended_ms=1000), partial(2200, "one"), final(3500, "one two")],
        [(3500, "one two")],
    ),
    "endless speech is answered at the ceiling": (
        [started(0), *(partial(1000 * n, f"word {n}") for n in range(1, 50))],
        [(45_000, "word 45")],
    ),
    "endless noise is no turn": (
        [started(0), stopped(60_000, ended_ms=59_800), final(60_100, "hello")],
        [],
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_callers_turn(call: str) -> None:
    events, expected = CALLS[call]
    assert hold(machine(endpointing_ms=500, final_timeout_ms=1500), *events) == expected


INTERRUPTIONS: dict[str, tuple[list[Heard], list[Done]]] = {
    "a sound pauses, two words confirm": (
        [
            started(0),
            sustained(260),
            partial(480, "no"),
            partial(600, "no I"),
            stopped(900, ended_ms=800),
            final(950, "no I want a table"),
        ],
        [(260, "pause"), (600, "!"), (1300, "no I want a table")],
    ),
    "two words that are no stop words": (
        [started(0), sustained(260), partial(480, "where"), partial(490, "where are"), stopped(900, ended_ms=800)],
        [(260, "pause"), (490, "!"), (2300, "where are")],
    ),
    "words without a pause before": (
        [started(0), final(800, "where are you"), stopped(900, ended_ms=800)],
        [(800, "!"), (1300, "where are you")],
    ),
    "one word confirms when the speech lasts": (
        [
            started(0),
            sustained(260),
            partial(450, "monday"),
            sustained(620, speech_ms=512),
            stopped(1200, ended_ms=1000),
            final(1250, "monday"),
        ],
        [(260, "pause"), (620, "!"), (1500, "monday")],
    ),
    "or when it turns out to have lasted": (
        [started(0), sustained(260), partial(450, "monday"), stopped(1200, ended_ms=900), final(1250, "monday")],
        [(260, "pause"), (1200, "!"), (1400, "monday")],
    ),
    "one word in a hum does not, however late its end is told": (
        [started(0), sustained(260), partial(400, "no"), stopped(1100, ended_ms=480), final(1150, "")],
        [(260, "pause"), (1150, "resume")],
    ),
    "nor does it when its end arrives late: what counts is the caller's time": (
        [started(0), sustained(260), partial(400, "no"), stopped(1100, ended_ms=480, late_ms=200), final(1150, "")],
        [(260, "pause"), (1150, "resume")],
    ),
    "a voice that lasts pauses the reply once": (
        [started(0), sustained(260), sustained(600, speech_ms=512), stopped(1200, ended_ms=980), final(1600, "")],
        [(260, "pause"), (1460, "resume")],
    ),
    "a stop word pauses, and is enough when it is sure": (
        [started(0), partial(200, "stop"), partial(450, "stop"), stopped(624, ended_ms=400), final(700, "stop")],
        [(200, "pause"), (450, "!"), (900, "stop")],
    ),
    "a hum that was taken for a stop word": (
        [started(0), partial(200, "no"), partial(450, "hold"), stopped(624, ended_ms=400), final(700, "")],
        [(200, "pause"), (700, "resume")],
    ),
    "a cough: the reply goes on as soon as that is known": (
        [started(0), sustained(260), stopped(600, ended_ms=380), final(700, "")],
        [(260, "pause"), (700, "resume")],
    ),
    "a cough that the provider says nothing about: the reply goes on after a while": (
        [started(0), sustained(260), stopped(600, ended_ms=380)],
        [(260, "pause"), (1460, "resume")],
    ),
    "music: no words, no end": (
        [started(0), sustained(260)],
        [(260, "pause"), (1460, "resume")],
    ),
    "a cough that is too short does nothing at all": (
        [started(0), stopped(400, ended_ms=180), final(500, "")],
        [],
    ),
    "noise without words does not interrupt": (
        [started(0), partial(200, "  "), partial(300, "…"), stopped(400, ended_ms=300), final(500, "")],
        [],
    ),
    "a backchannel: the reply goes on": (
        [started(0), sustained(260), partial(300, "uh-huh"), stopped(624, ended_ms=400), final(700, "Uh-huh.")],
        [(260, "pause"), (700, "resume")],
    ),
    "two backchannels are none the more an interruption": (
        [started(0), sustained(260), stopped(900, ended_ms=700), final(950, "Okay, yeah.")],
        [(260, "pause"), (950, "resume")],
    ),
    "a backchannel and then words": (
        [
            started(0),
            sustained(260),
            stopped(624, ended_ms=400),
            final(700, "okay"),
            started(800, 2),
            partial(1200, "but where are", 2),
            stopped(1700, 2, ended_ms=1500),
            final(1750, "but where are you", 2),
        ],
        [(260, "pause"), (700, "resume"), (1200, "!"), (2000, "okay but where are you")],
    ),
    "a backchannel as the reply ends is an answer": (
        [started(0), playback(200, 1, "finished"), stopped(624, ended_ms=400), final(700, "yes")],
        [(900, "yes")],
    ),
    "one short word waits until the reply is over": (
        [
            started(0),
            sustained(260),
            stopped(624, ended_ms=400),
            final(700, "monday"),
            playback(4000, 1, "finished"),
        ],
        [(260, "pause"), (1460, "resume"), (4000, "monday")],
    ),
    "after two false alarms only words pause": (
        [
            *(e for n in (1, 2, 3) for e in (started(n * 3000, n), sustained(n * 3000 + 260, n))),
            partial(9900, "where are you", 3),
        ],
        [(3260, "pause"), (4460, "resume"), (6260, "pause"), (7460, "resume"), (9900, "!")],
    ),
    "a word comes late, after the reply went on: it is interrupted again": (
        [started(0), sustained(260), partial(1700, "where are you"), stopped(1900, ended_ms=1700)],
        [(260, "pause"), (1460, "resume"), (1700, "!"), (3200, "where are you")],
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
        [playback(0, 0, "finished"), playback(20, 1, "playing"), started(30), partial(100, "stop it")],
        [(100, "!")],
    ),
    "it ends while it is paused": (
        [started(0), sustained(260), playback(270, 1, "finished"), stopped(600, ended_ms=380), final(700, "")],
        [(260, "pause")],
    ),
    "the agent's own words come back": (
        [
            started(0),
            partial(900, "we are open from noon"),
            stopped(1900, ended_ms=1700),
            final(2000, "we are open from noon until seven"),
        ],
        [],
    ),
    "the caller repeats the agent's words as it ends: an answer": (
        [
            started(0),
            partial(300, "every day of the week"),
            playback(400, 1, "finished"),
            stopped(1200, ended_ms=1000),
            final(1300, "every day of the week"),
        ],
        [(1500, "every day of the week")],
    ),
    "a sound that nobody understands is an interruption when it is long": (
        [started(0), sustained(260), stopped(1300, ended_ms=1100), final(1400, "[unintelligible]")],
        [(260, "pause"), (1400, "!"), (1600, "[unintelligible]")],
    ),
    "and none when it is short": (
        [started(0), sustained(260), stopped(600, ended_ms=400), final(700, "[unintelligible]")],
        [(260, "pause"), (700, "resume")],
    ),
    "a key interrupts at once, and the keys are a turn": (
        [key(0, "1"), key(400, "2"), key(800, "#")],
        [(0, "!"), (800, "keys 1 2")],
    ),
}


@pytest.mark.parametrize("call", INTERRUPTIONS)
def test_barge_in_while_the_agent_speaks(call: str) -> None:
    events, expected = INTERRUPTIONS[call]
    assert hold(speaking(), *events) == expected


def test_the_caller_goes_on_before_anything_was_heard_of_the_reply() -> None:
    turns = machine()
    assert hold(turns, started(0), stopped(1200, ended_ms=1000), final(1250, "I want"), until=1500) == [
        (1500, "I want")
    ]
    turns.reply_began(1, at(1500))
    goes_on = [started(1700, 2), partial(1900, "soup", 2), stopped(2200, 2, ended_ms=2000), final(2250, "soup", 2)]
    assert hold(turns, *goes_on) == [(1900, "!"), (2500, "soup")]


def test_a_late_final_of_the_turn_that_is_being_answered_is_no_interruption() -> None:
    turns = machine(final_timeout_ms=1500)
    assert hold(turns, started(0), partial(900, "hello"), stopped(1200, ended_ms=1000), until=2500) == [(2500, "hello")]
    turns.reply_began(1, at(2500))
    assert hold(turns, final(3000, "hello there")) == []


@pytest.mark.parametrize("off", ["barge-in", "greeting"])
def test_a_reply_that_is_not_to_be_interrupted_is_answered_afterwards(off: str) -> None:
    turns = machine(barge_in=BargeInProfile(enabled=off != "barge-in", protect_greeting=True))
    turns.reply_began(1, at(-100), protected=True)
    said = [started(0), sustained(260), partial(300, "no"), stopped(900, ended_ms=800), final(950, "no wait")]
    assert hold(turns, playback(-50, 1, "started"), *said) == []
    ended = playback(4000, 1, "finished")
    assert turns.handle(ended[1], at(4000)) == [Commit("no wait", ended_at=at(800), due_at=at(4000), utterances=(1,))]


def test_words_from_before_the_greeting_void_it() -> None:
    turns = machine()
    assert hold(turns, started(0), partial(300, "hello"), until=300) == []
    turns.reply_began(1, at(310))
    assert turns.deadline is not None
    assert turns.tick(at(310)) == [Interrupt()]


def test_nothing_happens_before_the_deadline_and_only_once_at_it() -> None:
    turns = machine(endpointing_ms=500)
    for ms, event in (started(0), final(300, "hello"), stopped(400, ended_ms=300)):
        assert turns.handle(event, at(ms)) == []
    assert turns.deadline == at(800)
    assert turns.tick(at(799)) == []
    assert turns.tick(at(800)) == [Commit("hello", ended_at=at(300), due_at=at(800), utterances=(1,))]
    assert turns.tick(at(801)) == []


def test_a_commit_says_how_long_it_waited_for_the_transcript_alone() -> None:
    turns = machine(endpointing_ms=500)
    for ms, event in (started(0), stopped(1200, ended_ms=1000)):
        assert turns.handle(event, at(ms)) == []
    ms, event = final(1800, "hello")
    assert turns.handle(event, at(ms)) == [Commit("hello", ended_at=at(1000), due_at=at(1500), utterances=(1,))]


SPECULATIONS: dict[str, tuple[list[Heard], list[Done]]] = {
    "the transcript is there before the wait is over": (
        [started(0), stopped(1200, ended_ms=1000), final(1250, "hello")],
        [(1250, "prepares hello"), (1500, "hello")],
    ),
    "the interim has settled": (
        [started(0), partial(900, "hello"), partial(1100, "hello"), stopped(1200, ended_ms=1000), final(1400, "hello")],
        [(1200, "prepares hello"), (1500, "hello")],
    ),
    "the provider thinks that the turn is over, and is wrong": (
        [
            started(0),
            partial(900, "hello", likely_over=True),
            partial(1000, "hello there"),
            partial(1300, "hello there", likely_over=True),
            final(1500, "hello there", turn_over=True),
        ],
        [(900, "prepares hello"), (1300, "prepares hello there"), (1500, "hello there")],
    ),
    "not for an unfinished sentence": (
        [started(0), stopped(1200, ended_ms=1000), final(1250, "hello and")],
        [(2200, "hello and")],
    ),
    "not while the caller speaks": (
        [started(0), partial(900, "hello"), partial(1100, "hello")],
        [],
    ),
    "three times at most": (
        [
            started(0),
            *(partial(100 * n, "so " + "very " * n, likely_over=True) for n in range(1, 6)),
            final(900, "so much", turn_over=True),
        ],
        [(100 * n, "prepares so " + ("very " * n).strip()) for n in (1, 2, 3)] + [(900, "so much")],
    ),
}


@pytest.mark.parametrize("call", SPECULATIONS)
def test_the_reply_is_prepared_at_a_likely_end(call: str) -> None:
    events, expected = SPECULATIONS[call]
    assert hold(machine(speculation=True), *events) == expected


def test_nothing_is_prepared_while_the_agent_speaks() -> None:
    said = [started(0), stopped(700, ended_ms=500), final(750, "monday")]
    assert hold(speaking(speculation=True, barge_in=BargeInProfile(enabled=False)), *said) == []


QUIET = SilenceProfile(reprompt_s=4, reprompts=("Hello?", "Still there?"), goodbye="Bye!")


def _answered(turns: Turns, generation: int, ms: int) -> None:
    """What the agent says by itself is heard for a second."""
    turns.reply_began(generation, at(ms))
    for event in (playback(ms, generation, "started"), playback(ms + 1000, generation, "finished")):
        assert turns.handle(event[1], at(event[0])) == []


def test_a_silent_caller_is_asked_twice_and_then_left() -> None:
    turns = machine(silence=QUIET)
    turns.begin(at(0))
    for generation, (ms, said) in enumerate([(4000, "Hello?"), (9000, "Still there?"), (14000, "Bye! and leaves")], 1):
        assert _ring(turns) == [(ms, f"says {said}")]
        _answered(turns, generation, ms)
    assert _ring(turns) == [(19000, "hangs up: caller_silent")]
    assert turns.deadline is None
    assert turns.handle(partial(20_000, "hello")[1], at(20_000)) == []


def test_words_begin_the_reprompts_anew() -> None:
    turns = machine(silence=QUIET)
    turns.begin(at(0))
    assert _ring(turns) == [(4000, "says Hello?")]
    _answered(turns, 1, 4000)
    assert hold(turns, started(6000), stopped(6900, ended_ms=6700), final(6950, "yes"), until=7300) == [(7200, "yes")]
    _answered(turns, 2, 7200)
    assert _ring(turns) == [(12_200, "says Hello?")]


def test_a_sound_without_words_is_no_reason_to_wait_for_ever() -> None:
    turns = machine(silence=QUIET)
    turns.begin(at(0))
    assert hold(turns, started(3000), until=10_000) == [(8000, "says Hello?")]


def test_an_interruption_without_words_is_asked_about_soon() -> None:
    turns = speaking(silence=SilenceProfile(reprompt_s=20))
    said = [started(0), partial(300, "no no"), stopped(700, ended_ms=500), final(800, "")]
    assert hold(turns, *said) == [(300, "!"), (3300, "says Are you still there?")]


def test_the_agent_never_asks_when_it_shall_not() -> None:
    turns = machine(silence=SilenceProfile(reprompt_s=0))
    turns.begin(at(0))
    assert turns.deadline is None


def test_keys_end_with_the_terminator_a_pause_or_their_number() -> None:
    assert hold(machine(), key(0, "1"), key(300, "*"), key(600, "#")) == [(600, "keys 1 star")]
    assert hold(machine(), key(0, "1"), key(300, "2")) == [(3300, "keys 1 2")]
    full = machine(digits={"max_digits": 2})
    assert hold(full, key(0, "1"), key(300, "2"), key(600, "3"), until=4000) == [
        (300, "keys 1 2"),
        (600, "!"),
        (3600, "keys 3"),
    ]
    assert hold(machine(), key(0, "#")) == [(3000, "keys hash")]


def test_words_and_keys_are_one_turn() -> None:
    said = [started(0), stopped(900, ended_ms=700), final(950, "my order is"), key(1000, "4"), key(1300, "#")]
    assert hold(machine(), *said) == [(1300, "my order is keys 4")]


def test_on_hold_the_agent_keeps_quiet_until_somebody_speaks() -> None:
    turns = machine(silence=QUIET)
    turns.begin(at(0))
    holding = [started(0), stopped(1900, ended_ms=1700), final(1950, "Please hold, your call is important to us.")]
    assert hold(turns, *holding, until=60_000) == []
    back = [started(61_000, 2), stopped(61_900, 2, ended_ms=61_700), final(61_950, "are you there", 2)]
    assert hold(turns, *back, until=63_000) == [(62_200, "are you there")]


def test_the_agent_does_not_hold_for_ever() -> None:
    turns = machine(silence=QUIET, hold=HoldProfile(max_s=60))
    holding = [started(0), stopped(1900, ended_ms=1700), final(1950, "please hold")]
    assert hold(turns, *holding, until=100_000) == [(62_200, "hangs up: on_hold")]


def test_the_agent_does_not_talk_to_a_machine() -> None:
    said = [started(0), stopped(1900, ended_ms=1700), final(1950, "Leave a message after the tone.")]
    assert hold(machine(), *said) == [(2200, "hangs up: voicemail")]


def test_a_radio_is_left_after_two_endless_turns() -> None:
    turns = machine(max_turn_s=10, silence=QUIET)
    assert hold(turns, started(0), partial(500, "la la la"), until=10_000) == [(10_000, "la la la")]
    _answered(turns, 1, 10_000)
    assert hold(turns, started(12_000, 2), partial(12_500, "la", 2), until=22_000) == [(22_000, "says Bye! and leaves")]


def test_a_reply_that_got_lost_is_given_up() -> None:
    turns = machine(silence=QUIET)
    turns.reply_began(1, at(0))
    assert _ring(turns) == [(20_000, "!")]
    assert _ring(turns) == [(23_000, "says Hello?")]


def test_thresholds_change_during_the_call() -> None:
    turns = speaking()
    turns.profile = turns.profile.changed({"barge_in": {"min_words": 4, "confirm_ms": 5000}})
    said = [started(0), partial(400, "where are you"), partial(900, "where are you located")]
    assert hold(turns, *said, until=1000) == [(900, "!")]
