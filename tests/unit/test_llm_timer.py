"""The timer of a dialogue: it rings at the deadline that was set last."""

import asyncio

from services.llm.timer import Timer


class Alarm:
    """A timer on the loop's clock, and when it rang."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.rang: asyncio.Queue[float] = asyncio.Queue()
        self.timer = Timer(lambda: self.rang.put_nowait(self.loop.time()), self.loop.time)
        self.began = self.loop.time()

    async def ring(self) -> float:
        async with asyncio.timeout(5):
            return await self.rang.get()


async def test_a_deadline_that_is_put_off_rings_once_and_not_before() -> None:
    alarm = Alarm()
    for put_off_s in (0.01, 0.02, 0.05):
        alarm.timer.set(alarm.began + put_off_s)
    assert await alarm.ring() >= alarm.began + 0.05
    assert alarm.rang.empty()


async def test_a_deadline_that_is_brought_forward_does_not_wait_for_the_later_one() -> None:
    alarm = Alarm()
    alarm.timer.set(alarm.began + 60)
    alarm.timer.set(alarm.began + 0.01)
    await alarm.ring()


async def test_a_deadline_that_has_passed_rings_at_once_and_again_when_it_is_set_again() -> None:
    alarm = Alarm()
    for _ in range(2):
        alarm.timer.set(alarm.began - 1)
        await alarm.ring()


async def test_without_a_deadline_nothing_rings() -> None:
    alarm, other = Alarm(), Alarm()
    alarm.timer.set(alarm.began + 0.01)
    alarm.timer.set(None)
    other.timer.set(alarm.began + 0.03)
    await other.ring()
    assert alarm.rang.empty()
