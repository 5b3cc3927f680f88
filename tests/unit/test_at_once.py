"""Coroutines that never wait."""

import asyncio

import pytest

from services.gateway.at_once import at_once


async def test_what_never_waits_is_done_when_it_returns() -> None:
    done: list[str] = []

    async def inner() -> None:
        done.append("inner")

    async def outer() -> None:
        await inner()
        done.append("outer")

    at_once(outer())
    assert done == ["inner", "outer"]


async def test_an_error_is_passed_on() -> None:
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        at_once(fail())


async def test_what_waits_is_refused() -> None:
    ended: list[bool] = []

    async def wait() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            ended.append(True)

    with pytest.raises(RuntimeError, match="waits"):
        at_once(wait())
    assert ended == [True]
