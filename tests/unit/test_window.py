"""How many leases are asked for side by side."""

import asyncio

import pytest

from services.gateway.window import WIDEST, Overrun, Window


class Slow(Overrun):
    """A worker did not answer in time."""


async def hold(window: Window, end: "asyncio.Future[None]", inside: list[int], name: int) -> None:
    async with window.place():
        inside.append(name)
        await end


async def test_no_more_than_its_width_are_inside_and_the_others_follow_in_order() -> None:
    window, inside = Window(), list[int]()
    ends = [asyncio.get_running_loop().create_future() for _ in range(WIDEST + 2)]
    tasks = [asyncio.create_task(hold(window, end, inside, number)) for number, end in enumerate(ends)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert inside == [*range(WIDEST)]
    for end in ends:
        end.set_result(None)
    await asyncio.gather(*tasks)
    assert inside == [*range(WIDEST + 2)]


async def test_those_that_overrun_together_halve_it_once() -> None:
    window, inside = Window(), list[int]()
    end = asyncio.get_running_loop().create_future()
    tasks = [asyncio.create_task(hold(window, end, inside, number)) for number in range(WIDEST)]
    while len(inside) < WIDEST:
        await asyncio.sleep(0)
    end.set_exception(Slow)
    assert [type(error) for error in await asyncio.gather(*tasks, return_exceptions=True)] == [Slow] * WIDEST
    assert window.width == WIDEST // 2


async def test_it_is_never_shut_and_widens_with_each_success() -> None:
    window = Window()
    for _ in range(10):
        with pytest.raises(Slow):
            async with window.place():
                raise Slow
    assert window.width == 1
    async with window.place():
        pass
    assert window.width == 2
    with pytest.raises(KeyError):
        async with window.place():
            raise KeyError
    assert window.width == 2
    for _ in range(2 * WIDEST):
        async with window.place():
            pass
    assert window.width == WIDEST
