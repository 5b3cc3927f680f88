"""The contract of a bus, passed by the real one and by the one in memory."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio

from shared import nats_bus
from shared.bus import Bus, NoResponders, RequestTimeout, WrongRevision
from shared.memory_bus import MemoryBus


@pytest_asyncio.fixture(params=["memory", "nats"])
async def any_bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    if request.param == "memory":
        yield MemoryBus()
        return
    bus = await nats_bus.connect(request.getfixturevalue("nats_url"), "test")
    yield bus
    await bus.close()


class Inbox:
    """Collects messages and lets a test wait for them."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    async def __call__(self, subject: str, payload: bytes) -> None:
        self.messages.put_nowait((subject, payload))

    async def next(self) -> tuple[str, bytes]:
        return await asyncio.wait_for(self.messages.get(), 5)


async def test_a_subscriber_hears_what_matches(any_bus: Bus) -> None:
    inbox, call = Inbox(), uuid4().hex
    subscription = await any_bus.subscribe(f"call.{call}.speech.*", inbox)
    await any_bus.flush()
    await any_bus.publish(f"call.{call}.reply.text", b"no")
    await any_bus.publish(f"call.{call}.speech.final", b"yes")
    assert await inbox.next() == (f"call.{call}.speech.final", b"yes")
    await subscription.drain()
    await any_bus.flush()
    await any_bus.publish(f"call.{call}.speech.final", b"late")
    await any_bus.flush()
    assert inbox.messages.empty()


async def test_messages_of_one_subscription_stay_in_order(any_bus: Bus) -> None:
    inbox, call = Inbox(), uuid4().hex
    await any_bus.subscribe_audio(f"call.{call}.audio.in", inbox)
    await any_bus.flush()
    for number in range(100):
        await any_bus.publish_audio(f"call.{call}.audio.in", bytes([number]))
    assert [(await inbox.next())[1][0] for _ in range(100)] == list(range(100))


async def test_one_of_a_queue_answers(any_bus: Bus) -> None:
    subject = f"lease.{uuid4().hex}"

    async def first(payload: bytes) -> bytes:
        return b"first " + payload

    async def second(payload: bytes) -> bytes:
        return b"second " + payload

    await any_bus.respond(subject, first, queue="q")
    await any_bus.respond(subject, second, queue="q")
    await any_bus.flush()
    answers = {await any_bus.request(subject, b"x", 5) for _ in range(60)}
    assert answers == {b"first x", b"second x"}


async def test_a_slow_answer_does_not_hold_up_the_next(any_bus: Bus) -> None:
    subject, release = f"lease.{uuid4().hex}", asyncio.Event()

    async def answer(payload: bytes) -> bytes:
        if payload == b"slow":
            await release.wait()
        return payload

    await any_bus.respond(subject, answer, queue="q")
    await any_bus.flush()
    slow = asyncio.create_task(any_bus.request(subject, b"slow", 5))
    assert await any_bus.request(subject, b"fast", 5) == b"fast"
    release.set()
    assert await slow == b"slow"


async def test_a_request_that_nobody_hears_fails_at_once(any_bus: Bus) -> None:
    with pytest.raises(NoResponders):
        await any_bus.request(f"lease.{uuid4().hex}", b"", 60)


async def test_a_request_that_nobody_answers_times_out(any_bus: Bus) -> None:
    subject = f"lease.{uuid4().hex}"

    async def never(payload: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    responder = await any_bus.respond(subject, never, queue="q")
    await any_bus.flush()
    with pytest.raises(RequestTimeout):
        await any_bus.request(subject, b"", 0.05)
    await responder.drain()


async def test_a_bucket_compares_and_sets(any_bus: Bus) -> None:
    bucket, key = await any_bus.bucket("test-calls", 60), uuid4().hex
    assert await bucket.get(key) is None
    revision = await bucket.create(key, b"1")
    with pytest.raises(WrongRevision):
        await bucket.create(key, b"again")
    newer = await bucket.update(key, b"2", revision)
    with pytest.raises(WrongRevision):
        await bucket.update(key, b"3", revision)
    assert await bucket.get(key) == (b"2", newer)
    assert key in await bucket.keys()
    await bucket.delete(key)
    await bucket.delete(key)
    assert await bucket.get(key) is None
    assert await bucket.create(key, b"new") > newer


async def test_a_recorded_event_is_heard_too(any_bus: Bus) -> None:
    inbox, call = Inbox(), uuid4().hex
    await any_bus.subscribe(f"call.{call}.event.>", inbox)
    await any_bus.flush()
    await any_bus.record(f"call.{call}.event.started", b"{}")
    assert await inbox.next() == (f"call.{call}.event.started", b"{}")
