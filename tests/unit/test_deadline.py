"""Deadlines that a slow process does not miss for others."""

import asyncio
import time

import pytest

from shared.deadline import Deadline, within


async def test_the_time_in_which_the_process_was_held_up_does_not_count() -> None:
    loop = asyncio.get_running_loop()
    missed: list[str] = []
    Deadline(0.2, lambda: missed.append("deadline"))
    loop.call_later(0.2, missed.append, "timer")
    answered = asyncio.Event()

    async def answer() -> None:
        # An answer goes through a few hands before it counts.
        for _ in range(5):
            await asyncio.sleep(0)
        answered.set()

    loop.call_later(0.05, lambda: loop.create_task(answer()))
    # Nothing else is simulated here: the event loop itself must stand still.
    time.sleep(0.4)  # noqa: ASYNC251
    await answered.wait()
    assert missed == ["timer"]


async def test_a_deadline_that_is_missed_is_told_once() -> None:
    missed = asyncio.Queue[str]()
    Deadline(0.02, lambda: missed.put_nowait("now"))
    async with asyncio.timeout(5):
        assert await missed.get() == "now"
    await asyncio.sleep(0)
    assert missed.empty()


async def test_a_deadline_that_is_kept_is_not_told() -> None:
    missed: list[str] = []
    deadline, later = Deadline(0.05, lambda: missed.append("first")), asyncio.Event()
    deadline.cancel()
    Deadline(0.1, later.set)
    async with asyncio.timeout(5):
        await later.wait()
    assert missed == []


async def test_work_ends_with_its_deadline() -> None:
    with pytest.raises(TimeoutError):
        async with within(0.02):
            await asyncio.Event().wait()
    async with within(5):
        await asyncio.sleep(0)


async def test_each_of_several_waits_has_the_whole_time() -> None:
    limit, kept = within(0.3), asyncio.Event()
    for _ in range(3):
        async with limit:
            Deadline(0.2, kept.set)
            await kept.wait()
        kept.clear()
    with pytest.raises(TimeoutError):
        async with limit:
            await asyncio.Event().wait()
    async with limit:
        await asyncio.sleep(0)


async def test_what_is_done_between_two_waits_is_not_limited() -> None:
    limit, late = within(0.02), asyncio.Event()
    async with limit:
        await asyncio.sleep(0)
    Deadline(0.1, late.set)
    async with asyncio.timeout(5):
        await late.wait()
    async with limit:
        await asyncio.sleep(0)


async def test_a_deadline_that_is_renewed_has_its_whole_time_again() -> None:
    missed, looked = asyncio.Event(), asyncio.Event()
    deadline = Deadline(0.3, missed.set)
    Deadline(0.2, deadline.renew)
    Deadline(0.4, looked.set)
    async with asyncio.timeout(5):
        await looked.wait()
        assert not missed.is_set()
        await missed.wait()
