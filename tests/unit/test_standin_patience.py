"""How long a socket of a stand-in waits."""

import asyncio

import pytest

from simulator.standins.faults import _Patience


async def wait_until(patience: _Patience, when: float) -> None:
    with patience.until(when):
        await asyncio.Event().wait()


async def test_a_wait_ends_at_its_time_and_not_before() -> None:
    loop, patience = asyncio.get_running_loop(), _Patience()
    begin = loop.time()
    for when in (begin, begin + 0.03, begin + 0.03):
        with pytest.raises(TimeoutError):
            await wait_until(patience, when)
        assert loop.time() >= when
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_the_time_of_an_earlier_wait_does_not_count() -> None:
    loop, patience = asyncio.get_running_loop(), _Patience()
    begin = loop.time()
    with patience.until(begin + 0.01):
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await wait_until(patience, begin + 0.05)
    assert loop.time() >= begin + 0.05


async def test_a_shorter_wait_after_a_longer_one_ends_in_time() -> None:
    loop, patience = asyncio.get_running_loop(), _Patience()
    with patience.until(loop.time() + 1000):
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        with pytest.raises(TimeoutError):
            await wait_until(patience, loop.time() + 0.01)


async def test_nobody_is_disturbed_between_two_waits() -> None:
    loop, patience = asyncio.get_running_loop(), _Patience()
    with patience.until(loop.time()):
        pass
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_is_cancelled_is_not_told_of_a_timeout() -> None:
    patience = _Patience()
    task = asyncio.create_task(wait_until(patience, asyncio.get_running_loop().time() + 1000))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
