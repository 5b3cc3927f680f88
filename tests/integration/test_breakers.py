"""The breakers of two processes over a real broker."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable

import nats
import pytest_asyncio

from shared import nats_bus
from shared.breakers import BUCKET, Breakers
from shared.nats_bus import NatsBus
from shared.settings import Settings

NAME = "llm.openai"
SETTINGS = Settings(breaker_failures=3, breaker_open_s=0.5, breaker_successes=2)


@pytest_asyncio.fixture
async def fleet(bus: NatsBus, nats_url: str) -> AsyncIterator[tuple[Breakers, Breakers]]:
    await (await bus.bucket(BUCKET, 60)).delete(NAME)
    other = await nats_bus.connect(nats_url, "test-2")
    one, two = Breakers(SETTINGS), Breakers(SETTINGS)
    await one.open(bus)
    await two.open(other)
    yield one, two
    await one.close()
    await two.close()
    await other.close()


async def until(condition: Callable[[], bool], seconds: float) -> float:
    """Seconds until it holds; fails after so many."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
    return time.monotonic() - began


async def test_a_breaker_that_opens_here_is_open_everywhere_at_once_and_closes_again(
    fleet: tuple[Breakers, Breakers], bus: NatsBus
) -> None:
    one, two = fleet
    assert two.allows(NAME)
    for _ in range(3):
        await one.failed(NAME, "timeout")
    assert not one.allows(NAME)
    await until(lambda: two.states()[NAME] == "open", 1)
    bucket = await bus.bucket(BUCKET, 60)
    async with asyncio.timeout(5):
        while (entry := await bucket.get(NAME)) is None:
            await asyncio.sleep(0)
    shown = json.loads(entry[0])
    assert (shown["state"], shown["failures"], shown["reason"]) == ("open", 3, "timeout")
    await until(lambda: two.states()[NAME] == "half-open", 2)
    assert two.allows(NAME)
    await two.succeeded(NAME)
    assert one.allows(NAME)
    await one.succeeded(NAME)
    await until(lambda: one.states()[NAME] == two.states()[NAME] == "closed", 1)


async def test_many_failures_at_the_same_moment_are_counted_together(fleet: tuple[Breakers, Breakers]) -> None:
    one, two = fleet
    await asyncio.gather(one.failed(NAME, "connection"), two.failed(NAME, "status_500"), two.failed(NAME, "timeout"))
    await until(lambda: one.states()[NAME] == two.states()[NAME] == "open", 1)


async def test_an_operator_closes_it_by_deleting_its_key(fleet: tuple[Breakers, Breakers], nats_url: str) -> None:
    one, two = fleet
    for _ in range(3):
        await one.failed(NAME, "timeout")
    await until(lambda: two.states().get(NAME) == "open", 1)
    client = await nats.connect(nats_url)
    store = await client.jetstream().key_value(BUCKET)
    await store.delete(NAME)
    await until(lambda: one.states()[NAME] == two.states()[NAME] == "closed", 0.4)
    await one.failed(NAME, "timeout")
    await until(lambda: one.allows(NAME) and two.allows(NAME), 0.4)
    await client.close()
