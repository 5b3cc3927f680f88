"""The waiting list: first come, first served."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.waiting import GONE_AFTER_S, WaitingList


def listed(*calls: str, pipeline: str = "stt+llm+tts") -> WaitingList:
    waiting = WaitingList()
    for index, call in enumerate(calls):
        waiting = waiting.seen(call, pipeline, float(index))
    return waiting


def test_a_caller_keeps_the_place_that_was_taken_first() -> None:
    waiting = listed("a", "b", "c").seen("a", "stt+llm+tts", 9.0)
    assert [waiting.position(call) for call in "abc"] == [1, 2, 3]
    assert (waiting.waiters[0].joined_at, waiting.waiters[0].seen_at) == (0.0, 9.0)


def test_who_does_not_ask_for_long_has_gone() -> None:
    waiting = listed("a", "b").seen("b", "stt+llm+tts", 10.0)
    assert [waiter.call_id for waiter in waiting.present(GONE_AFTER_S).waiters] == ["a", "b"]
    assert [waiter.call_id for waiter in waiting.present(GONE_AFTER_S + 0.1).waiters] == ["b"]
    assert waiting.without("a").position("b") == 1


@pytest.mark.parametrize(
    ("free", "tries"), [(0, {"a"}), (1, {"a"}), (2, {"a", "b"}), (3, {"a", "b", "c"}), (4, {"a", "b", "c", "new"})]
)
def test_as_many_may_try_as_there_are_places(free: int, tries: set[str]) -> None:
    waiting = listed("a", "b", "c")
    assert {call for call in ("a", "b", "c", "new") if waiting.may_try(call, "stt+llm+tts", free)} == tries


def test_a_newcomer_to_an_empty_list_tries_at_once() -> None:
    assert WaitingList().may_try("new", "speech", 0)


def test_who_waits_for_one_worker_does_not_wait_behind_who_waits_for_another() -> None:
    waiting = listed("a", "b").seen("c", "speech", 5.0)
    assert waiting.may_try("c", "speech", 0)
    assert waiting.position("c") == 1
    assert not waiting.may_try("b", "stt+llm+tts", 0)


def test_a_position_is_told_once() -> None:
    waiting = listed("a", "b").tell("b")
    assert [waiter.told for waiter in waiting.waiters] == [0, 2]
    assert waiting.without("a").tell("b").waiters[0].told == 1


def test_a_stranger_has_no_position() -> None:
    with pytest.raises(KeyError):
        listed("a").position("x")


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0.1, 8)), max_size=60), st.integers(0, 3))
def test_nobody_overtakes_and_nobody_starves(asks: list[tuple[str, float]], free: int) -> None:
    waiting, now, came = WaitingList(), 0.0, list[str]()
    for call, later in asks:
        now += later
        waiting = waiting.present(now)
        came = [known for known in came if waiting.get(known)]
        if waiting.may_try(call, "p", free):
            before = came.index(call) if call in came else len(came)
            assert before < max(1, free)
        waiting = waiting.seen(call, "p", now)
        came += [call] if call not in came else []
        assert [waiter.call_id for waiter in waiting.waiters] == came
        assert waiting.may_try(came[0], "p", 0)
