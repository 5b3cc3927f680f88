"""The figures of many interruptions and many coughs."""

from simulator.commands.interruptions import counts, figures
from simulator.rehearsal.interruption import Outcome, Trial, trials

SPOKEN = Trial("interruption", 1000, b"\x10" * 800)
COUGH = Trial("false alarm", 2000, b"\x10" * 800)

CONFIRMED = Outcome(SPOKEN, interrupted=True, answered=True, paused=True, clear_ms=40, platform_ms=9)
WRONG_ANSWER = Outcome(SPOKEN, interrupted=True, paused=True, clear_ms=60, platform_ms=11)
MISSED = Outcome(SPOKEN, finished=True)
RESUMED = Outcome(COUGH, paused=True, resumed=True, finished=True, clear_ms=50, platform_ms=10, resume_ms=300)
UNNOTICED = Outcome(COUGH, finished=True)
STOPPED = Outcome(COUGH, interrupted=True, paused=True, clear_ms=70)
LOST = Outcome(COUGH, paused=True, resumed=True, finished=True, wrong=("90 ms of the reply were never played",))
ALL = (CONFIRMED, WRONG_ANSWER, MISSED, RESUMED, UNNOTICED, STOPPED, LOST)


def test_every_outcome_is_counted_where_it_belongs() -> None:
    assert counts(ALL) == {
        "interruptions": {"made": 3, "confirmed": 1, "answered wrong": 1, "missed": 1},
        "false alarms": {"made": 4, "paused": 3, "resumed": 2, "finished": 3, "false stops": 1},
    }


def test_what_was_not_right_is_told_with_its_moment() -> None:
    assert figures(ALL)["wrong"] == [
        "interruption 1000 ms into the reply: was not answered right",
        "interruption 1000 ms into the reply: did not stop the agent",
        "false alarm 2000 ms into the reply: stopped the agent",
        "false alarm 2000 ms into the reply: 90 ms of the reply were never played",
    ]
    assert [outcome.right for outcome in ALL] == [True, False, False, True, True, False, False]


def test_times_are_spread_over_the_trials_that_have_them() -> None:
    assert figures(ALL)["ms"] == {
        "clear, by ear": {"p50": 50, "p95": 70, "p100": 70},
        "clear, platform": {"p50": 10, "p95": 11, "p100": 11},
        "resume": {"p50": 300, "p95": 300, "p100": 300},
    }
    assert figures([UNNOTICED])["ms"] == {}


def test_a_trial_that_could_not_be_made_is_not_right() -> None:
    outcome = Outcome(SPOKEN, failure="the call ended: x")
    assert not outcome.right
    assert figures([outcome])["wrong"] == ["interruption 1000 ms into the reply: the call ended: x"]


def test_the_same_seed_makes_the_same_trials() -> None:
    made = trials(20, b"\x10", 5000, seed=7)
    assert made == trials(20, b"\x10", 5000, seed=7) != trials(20, b"\x10", 5000, seed=8)
    assert sum(trial.kind == "interruption" for trial in made) == 20 == len(made) // 2
    assert all(500 <= trial.into_ms <= 5000 for trial in made)
    assert len({trial.mulaw for trial in made}) > 10
