"""The breakers of a process: what it learns itself, what it hears, and what it writes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from shared.breakers import BUCKET, Breakers
from shared.bus import Bucket, Disconnected
from shared.ids import InvalidId
from shared.memory_bus import MemoryBus
from shared.settings import Settings

OPENAI = "llm.openai"


class Clock:
    """Seconds that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Process:
    """One process's breakers on a bus that it may share with others."""

    def __init__(self, bus: MemoryBus, clock: Clock) -> None:
        self.bus = bus
        self.breakers = Breakers(Settings(breaker_failures=3, breaker_open_s=30, breaker_successes=2), clock)

    async def fail(self, times: int) -> None:
        for _ in range(times):
            await self.breakers.failed(OPENAI, "timeout")

    async def succeed(self, times: int) -> None:
        for _ in range(times):
            await self.breakers.succeeded(OPENAI)

    @property
    def state(self) -> str | None:
        return self.breakers.states().get(OPENAI)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@asynccontextmanager
async def opened(bus: MemoryBus, clock: Clock) -> AsyncIterator[Process]:
    process = Process(bus, clock)
    await process.breakers.open(bus)
    yield process
    await process.breakers.close()


async def written(bus: MemoryBus, *, revision: int) -> dict[str, object]:
    """The breaker in the bucket, once it was written so often."""
    bucket = await bus.bucket(BUCKET, 1)
    async with asyncio.timeout(5):
        while (entry := await bucket.get(OPENAI)) is None or entry[1] < revision:
            await asyncio.sleep(0)
    assert entry[1] == revision
    return dict(json.loads(entry[0]))


async def test_a_provider_that_fails_is_not_asked_for_a_while_and_then_one_at_a_time(clock: Clock) -> None:
    alone = Process(MemoryBus(), clock)
    assert alone.breakers.allows(OPENAI)
    await alone.fail(2)
    assert alone.breakers.allows(OPENAI)
    with capture_logs() as logs:
        await alone.fail(1)
    assert [(entry["state"], entry["reason"]) for entry in logs] == [("open", "timeout")]
    assert not alone.breakers.allows(OPENAI)
    assert alone.breakers.rests(OPENAI)
    clock.now += 30
    assert not alone.breakers.rests(OPENAI)
    assert alone.breakers.allows(OPENAI)
    assert not alone.breakers.allows(OPENAI), "one trial is under way"
    await alone.succeed(1)
    assert alone.state == "half-open"
    assert alone.breakers.allows(OPENAI)
    await alone.succeed(1)
    assert alone.state == "closed"
    assert alone.breakers.allows(OPENAI)
    assert alone.breakers.allows(OPENAI)


async def test_a_trial_that_fails_opens_it_again_and_one_without_an_end_gives_its_place_away(clock: Clock) -> None:
    alone = Process(MemoryBus(), clock)
    await alone.fail(3)
    clock.now += 30
    assert alone.breakers.allows(OPENAI)
    await alone.fail(1)
    assert alone.state == "open"
    clock.now += 30
    assert alone.breakers.allows(OPENAI)
    clock.now += 6.4
    assert not alone.breakers.allows(OPENAI)
    clock.now += 0.2
    assert alone.breakers.allows(OPENAI), "PROVIDER_CONNECT_S and PROVIDER_ANSWER_S are over"


async def test_the_failures_of_all_processes_count_and_each_hears_of_the_end(clock: Clock) -> None:
    bus = MemoryBus()
    async with opened(bus, clock) as one, opened(bus, clock) as two:
        await one.fail(2)
        assert (await written(bus, revision=1))["failures"] == 2
        await two.fail(1)
        found = await written(bus, revision=2)
        assert (found["state"], found["reason"], found["opened_at"]) == ("open", "timeout", 1000.0)
        await bus.settle()
        assert (one.state, two.state) == ("open", "open")
        clock.now += 30
        await one.succeed(1)
        await written(bus, revision=3)
        await two.succeed(1)
        assert (await written(bus, revision=4))["state"] == "closed"
        await bus.settle()
        assert (one.state, two.state) == ("closed", "closed")


async def test_a_process_that_starts_knows_what_the_fleet_knows(clock: Clock) -> None:
    bus = MemoryBus()
    async with opened(bus, clock) as one:
        await one.fail(3)
        await written(bus, revision=1)
    async with opened(bus, clock) as late:
        assert not late.breakers.allows(OPENAI)


async def test_what_no_message_told_is_read_now_and_then(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.breakers._POLL_S", 0.01)
    bus = MemoryBus()
    async with opened(bus, clock) as one, opened(bus, clock) as two:
        assert two.breakers.allows(OPENAI)
        bus.listeners.clear()
        await one.fail(3)
        async with asyncio.timeout(5):
            while two.breakers.allows(OPENAI):
                await asyncio.sleep(0.001)
        await (await bus.bucket(BUCKET, 1)).delete(OPENAI)
        async with asyncio.timeout(5):
            while not (one.breakers.allows(OPENAI) and two.breakers.allows(OPENAI)):
                await asyncio.sleep(0.001)


async def test_success_as_usual_is_not_written(clock: Clock) -> None:
    bus = MemoryBus()
    async with opened(bus, clock) as one:
        await one.succeed(100)
        await one.fail(1)
        assert (await written(bus, revision=1))["failures"] == 1
        await one.succeed(100)
        assert (await written(bus, revision=2))["failures"] == 0


class Away:
    """A bucket whose broker is away until `back` is set."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.back = asyncio.Event()

    async def get(self, key: str) -> tuple[bytes, int] | None:
        if not self.back.is_set():
            raise Disconnected(key)
        return await self.bucket.get(key)

    def __getattr__(self, name: str) -> object:
        return getattr(self.bucket, name)


async def test_what_this_process_wrote_is_not_counted_again_when_it_hears_of_it(clock: Clock) -> None:
    bus = MemoryBus()
    slow = Slow(await bus.bucket(BUCKET, 1))
    bus._buckets[BUCKET] = slow  # type: ignore[assignment]
    async with opened(bus, clock) as one:
        await one.fail(2)
        await asyncio.wait_for(slow.stored.wait(), 5)
        await bus.settle()
        assert one.state == "closed"
        await one.fail(1)
        assert one.state == "open"
        slow.confirmed.set()
        assert (await written(bus, revision=2))["state"] == "open"
        assert one.state == "open"


class Slow:
    """A bucket that confirms what it stored when it is told to."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.stored, self.confirmed = asyncio.Event(), asyncio.Event()

    async def create(self, key: str, value: bytes) -> int:
        revision = await self.bucket.create(key, value)
        self.stored.set()
        await self.confirmed.wait()
        return revision

    def __getattr__(self, name: str) -> object:
        return getattr(self.bucket, name)


async def test_without_a_broker_it_works_here_and_is_told_later(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.breakers._POLL_S", 0.01)
    bus = MemoryBus()
    away = Away(await bus.bucket(BUCKET, 1))
    bus._buckets[BUCKET] = away  # type: ignore[assignment]
    async with opened(bus, clock) as one:
        await one.fail(3)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not one.breakers.allows(OPENAI)
        away.back.set()
        assert (await written(bus, revision=1))["state"] == "open"


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"state": "ajar"}', b'{"failures": -1}'])
async def test_a_value_that_is_none_means_closed(payload: bytes, clock: Clock) -> None:
    bus = MemoryBus()
    async with opened(bus, clock) as one:
        await one.fail(3)
        await written(bus, revision=1)
        await bus.publish(f"$KV.{BUCKET}.{OPENAI}", payload)
        await bus.settle()
        assert one.breakers.allows(OPENAI)
        await bus.publish(f"$KV.{BUCKET}.Nobody", b'{"state": "open"}')
        await bus.settle()
        assert list(one.breakers.states()) == [OPENAI]


@pytest.mark.parametrize("name", ["", "openai", "llm.", "llm.open ai", "llm.*", "llm.a.b", "web.openai", "llm.x\n"])
async def test_a_name_that_no_provider_has_is_refused(name: str, clock: Clock) -> None:
    breakers = Process(MemoryBus(), clock).breakers
    for ask in (breakers.allows, breakers.rests):
        with pytest.raises(InvalidId):
            ask(name)
    with pytest.raises(InvalidId):
        await breakers.failed(name, "timeout")
    with pytest.raises(InvalidId):
        await breakers.succeeded(name)
    assert breakers.states() == {}


def metric(name: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"provider": OPENAI})


async def test_the_metrics_show_the_state_and_the_trips(clock: Clock) -> None:
    alone = Process(MemoryBus(), clock)
    assert alone.breakers.allows(OPENAI)
    trips = metric("trunkline_breaker_trips_total") or 0.0
    assert metric("trunkline_breaker_state") == 0
    await alone.fail(4)
    assert metric("trunkline_breaker_state") == 2
    assert metric("trunkline_breaker_trips_total") == trips + 1
    clock.now += 30
    assert metric("trunkline_breaker_state") == 1
