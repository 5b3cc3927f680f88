"""How many calls a caller, and a source, may place within a minute."""

import pytest

from services.gateway import limits
from services.gateway.limits import CallLimits, Limit
from shared.settings import Settings


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_limit_counts_any_minute_and_not_what_it_refused() -> None:
    time = Time()
    limit = Limit(2, time)
    taken = []
    for time.now in (0, 30, 59, 60, 61, 89, 90, 91):
        taken.append(limit.take("a"))
    assert taken == [True, True, False, True, False, False, True, False]
    assert limit.take("b")


def test_zero_is_no_limit() -> None:
    limit = Limit(0, Time())
    assert all(limit.take("a") for _ in range(1000))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_KEYS", 3)
    limit = Limit(1, Time())
    assert limit.take("a")
    for other in "bcd":
        assert not limit.take("a")
        assert limit.take(other)
    # "b" was silent for longest.
    assert limit.take("b")
    assert not limit.take("d")


def test_long_keys_are_cut() -> None:
    limit = Limit(1, Time())
    assert limit.take("x" * 60_000)
    assert not limit.take("x" * 70_000)


@pytest.mark.parametrize("number", ["", "anonymous", "Anonymous", "+266696687", " RESTRICTED "])
def test_callers_who_hide_their_number_are_not_counted_as_one(number: str) -> None:
    call_limits = CallLimits(Settings(calls_per_minute_caller=1), Time())
    assert all(call_limits.caller(number) for _ in range(10))


def test_callers_and_sources_are_counted_apart() -> None:
    call_limits = CallLimits(Settings(calls_per_minute_caller=1, calls_per_minute_source=2), Time())
    assert call_limits.caller("+1")
    assert not call_limits.caller("+1")
    assert [call_limits.source("10.0.0.1") for _ in range(3)] == [True, True, False]
