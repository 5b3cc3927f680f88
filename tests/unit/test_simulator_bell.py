"""The bell that wakes those who wait for something to happen on a call."""

import asyncio

from simulator.bell import Bell


async def test_all_who_wait_are_woken_and_those_who_come_later_are_not() -> None:
    bell = Bell()
    waiting = [asyncio.create_task(bell.wait(60)) for _ in range(2)]
    await asyncio.sleep(0)
    bell.ring()
    bell.ring()
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)
    later = asyncio.create_task(bell.wait(60))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not later.done()
    later.cancel()


async def test_nobody_waits_longer_than_asked() -> None:
    async with asyncio.timeout(5):
        await Bell().wait(0.001)
        await Bell().wait(-1)


async def test_whoever_gave_up_is_forgotten() -> None:
    bell = Bell()
    waiting = asyncio.create_task(bell.wait(60))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait((waiting,))
    bell.ring()
    assert not bell._waiting
