"""One breaker's states, with the time as an argument."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.breaker import Breaker, Limits, Outcome, Phase, after_all

LIMITS = Limits(failures=3, open_s=30.0, successes=2)


def outcomes(text: str) -> list[Outcome]:
    """One outcome a second from second 0: `x` a failure, `.` a success, a space nothing, `~` half a minute."""
    now, found = 0.0, []
    for mark in text:
        if mark in "x.":
            found.append(Outcome(now, "timeout" if mark == "x" else ""))
        now += 30.0 if mark == "~" else 1.0
    return found


def end_of(text: str) -> float:
    return sum(30.0 if mark == "~" else 1.0 for mark in text)


@pytest.mark.parametrize(
    ("history", "phase"),
    [
        ("", "closed"),
        ("....", "closed"),
        ("xx", "closed"),
        ("xx.xx.xx", "closed"),
        ("xxx", "open"),
        ("..xxx", "open"),
        ("xxx....", "open"),
        ("xxx~", "half-open"),
        ("xxx~.", "half-open"),
        ("xxx~..", "closed"),
        ("xxx~..xx", "closed"),
        ("xxx~..xxx", "open"),
        ("xxx~x", "open"),
        ("xxx~.x", "open"),
        ("xxx~x~", "half-open"),
        ("xxx~x~..", "closed"),
        ("xxx~.x~.", "half-open"),
        ("xxx~.x~..", "closed"),
    ],
)
def test_a_history_leads_to_a_phase(history: str, phase: Phase) -> None:
    assert after_all(Breaker(), outcomes(history), LIMITS).phase(LIMITS, end_of(history)) == phase


def test_it_is_open_for_exactly_so_long() -> None:
    breaker = after_all(Breaker(), outcomes("xxx"), LIMITS)
    assert (breaker.opened_at, breaker.reason) == (2.0, "timeout")
    assert breaker.phase(LIMITS, 31.999) == "open"
    assert breaker.phase(LIMITS, 32.0) == "half-open"


def test_an_outcome_that_changes_nothing_makes_no_other_breaker() -> None:
    fresh, opened = Breaker(), after_all(Breaker(), outcomes("xxx"), LIMITS)
    assert fresh.after(Outcome(9.0), LIMITS) is fresh
    for late in (Outcome(9.0), Outcome(9.0, "timeout")):
        assert opened.after(late, LIMITS) is opened


def test_one_that_was_opened_by_a_clock_far_ahead_is_tried() -> None:
    breaker = Breaker(state="open", opened_at=3600.0)
    assert breaker.phase(LIMITS, 0.0) == "half-open"
    assert Breaker(state="open", opened_at=2.0).phase(LIMITS, 0.0) == "open"


def test_it_travels_as_json() -> None:
    breaker = after_all(Breaker(), outcomes("xxx~."), LIMITS)
    assert Breaker.model_validate_json(breaker.model_dump_json()) == breaker


STEPS = st.lists(st.tuples(st.floats(0, 60), st.booleans()), max_size=60)


@given(STEPS, st.integers(1, 5), st.integers(1, 5))
def test_only_failures_in_a_row_open_it_and_only_successes_in_a_row_close_it(
    steps: list[tuple[float, bool]], failures: int, successes: int
) -> None:
    limits = Limits(failures, 30.0, successes)
    now, breaker, row = 0.0, Breaker(), ""
    for wait, works in steps:
        now += wait
        before = breaker.phase(limits, now)
        if before == "half-open" and breaker.state == "open":
            row = ""
        breaker = breaker.after(Outcome(now, "" if works else "timeout"), limits)
        after = breaker.phase(limits, now)
        if before != "open":
            row += "." if works else "x"
        if (before, after) == ("closed", "open"):
            assert row.endswith("x" * failures)
        elif before == "half-open":
            assert after == ("open" if not works else "closed" if row.endswith("." * successes) else "half-open")
        else:
            assert after == before
        if before != after:
            row = ""
