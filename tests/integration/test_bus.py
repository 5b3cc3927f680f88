"""The contract of a bus, passed by the real one and by the one in memory."""

import asyncio
import os
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio

from shared import nats_bus, nats_objects, nats_retry
from shared.bus import MAX_OBJECT_BYTES, Bus, BusError, Disconnected, NoResponders, RequestTimeout, WrongRevision
from shared.memory_bus import MemoryBus
from shared.nats_bus import NatsBus


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
        self.hear(subject, payload)

    def hear(self, subject: str, payload: bytes) -> None:
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
    await any_bus.subscribe_audio(f"call.{call}.audio.in", inbox.hear)
    await any_bus.flush()
    for number in range(100):
        await any_bus.publish_audio(f"call.{call}.audio.in", bytes([number]))
    assert [(await inbox.next())[1][0] for _ in range(100)] == list(range(100))


async def test_audio_waits_for_nothing_and_stays_in_order_with_what_is_flushed(any_bus: Bus) -> None:
    inbox, call = Inbox(), uuid4().hex
    await any_bus.subscribe_audio(f"call.{call}.audio.in", inbox.hear)
    await any_bus.flush()
    for number in range(100):
        with pytest.raises(StopIteration):
            any_bus.publish_audio(f"call.{call}.audio.in", bytes([number])).send(None)
    await any_bus.flush()
    assert [(await inbox.next())[1][0] for _ in range(100)] == list(range(100))


async def test_a_subscription_to_audio_that_is_drained_hears_what_came_before(any_bus: Bus) -> None:
    inbox, call = Inbox(), uuid4().hex
    subscription = await any_bus.subscribe_audio(f"call.{call}.audio.in", inbox.hear)
    others = await any_bus.subscribe_audio("call.*.audio.in", inbox.hear)
    await others.drain()
    await any_bus.flush()
    for number in range(100):
        await any_bus.publish_audio(f"call.{call}.audio.in", bytes([number]))
    await any_bus.flush()
    await subscription.drain()
    await any_bus.publish_audio(f"call.{call}.audio.in", b"late")
    await any_bus.flush()
    assert [(await inbox.next())[1][0] for _ in range(100)] == list(range(100))
    assert inbox.messages.empty()


@pytest.mark.parametrize("size", [0, 1, 1000, 300_000])
async def test_audio_of_any_size_arrives_whole_and_is_bytes(any_bus: Bus, size: int) -> None:
    inbox, call, frames = Inbox(), uuid4().hex, [os.urandom(size) + b"\r\n" for _ in range(5)]
    await any_bus.subscribe_audio(f"call.{call}.audio.*", inbox.hear)
    await any_bus.flush()
    for frame in frames:
        await any_bus.publish_audio(f"call.{call}.audio.out", frame)
    heard = [await inbox.next() for _ in frames]
    assert heard == [(f"call.{call}.audio.out", frame) for frame in frames]
    assert {type(frame) for _, frame in heard} == {bytes}


async def test_a_handler_that_raises_loses_its_own_frame_only(any_bus: Bus) -> None:
    inbox, call = Inbox(), uuid4().hex

    def refuse(subject: str, payload: bytes) -> None:
        inbox.hear(subject, payload)
        raise ValueError(payload)

    await any_bus.subscribe_audio(f"call.{call}.audio.in", refuse)
    await any_bus.flush()
    for number in range(3):
        await any_bus.publish_audio(f"call.{call}.audio.in", bytes([number]))
    assert [(await inbox.next())[1] for _ in range(3)] == [b"\x00", b"\x01", b"\x02"]


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


async def test_each_change_of_a_bucket_is_a_message(any_bus: Bus) -> None:
    bucket, key, inbox = await any_bus.bucket("test-calls", 60), uuid4().hex, Inbox()
    await any_bus.subscribe(f"$KV.test-calls.{key}", inbox)
    await any_bus.flush()
    revision = await bucket.create(key, b"1")
    await bucket.update(key, b"2", revision)
    await bucket.put(key, b"3")
    await bucket.delete(key)
    assert [(await inbox.next())[1] for _ in range(4)] == [b"1", b"2", b"3", b""]


async def test_a_key_that_is_gone_has_no_old_revision(any_bus: Bus) -> None:
    bucket, key = await any_bus.bucket("test-calls", 60), uuid4().hex
    revision = await bucket.create(key, b"1")
    await bucket.delete(key)
    for wrong in (revision, revision + 1000):
        with pytest.raises(WrongRevision):
            await bucket.update(key, b"2", wrong)
    with pytest.raises(WrongRevision):
        await bucket.update(uuid4().hex, b"2", revision)


async def test_what_is_no_key_is_refused(bus: NatsBus) -> None:
    bucket = await bus.bucket("test-calls", 60)
    for key in ("", "a b", "a.>", "*", ".a", "a..b"):
        with pytest.raises(BusError, match="not a key"):
            await bucket.put(key, b"1")


async def test_a_recorded_event_is_heard_too(any_bus: Bus) -> None:
    inbox, call = Inbox(), uuid4().hex
    await any_bus.subscribe(f"call.{call}.event.>", inbox)
    await any_bus.flush()
    await any_bus.record(f"call.{call}.event.started", b"{}")
    assert await inbox.next() == (f"call.{call}.event.started", b"{}")


@pytest.mark.parametrize("size", [0, 1, 40_000, 128 * 1024, 300_000, MAX_OBJECT_BYTES])
async def test_an_object_comes_back_as_it_was_put(any_bus: Bus, size: int) -> None:
    store, key, value = await any_bus.objects("test-objects", 60), uuid4().hex, os.urandom(size)
    assert await store.get(key) is None
    await store.put(key, value)
    assert await store.get(key) == value
    assert await (await any_bus.objects("test-objects", 60)).get(key) == value
    assert await (await any_bus.objects("test-others", 60)).get(key) is None


async def test_an_object_is_replaced_whole(any_bus: Bus) -> None:
    store, key = await any_bus.objects("test-objects", 60), uuid4().hex
    await store.put(key, b"1" * 300_000)
    await store.put(key, b"2" * 10)
    assert await store.get(key) == b"2" * 10


async def test_of_objects_put_at_the_same_time_one_wins_whole(any_bus: Bus) -> None:
    store, key = await any_bus.objects("test-objects", 60), uuid4().hex
    values = [bytes([number]) * 200_000 for number in range(6)]
    reading = [asyncio.create_task(store.get(key)) for _ in range(6)]
    await asyncio.gather(*(store.put(key, value) for value in values))
    assert await store.get(key) in values
    assert set(await asyncio.gather(*reading)) <= {None, *values}


async def test_an_object_that_is_too_large_is_refused(any_bus: Bus) -> None:
    store, key = await any_bus.objects("test-objects", 60), uuid4().hex
    with pytest.raises(BusError, match="more than an object may have"):
        await store.put(key, b"x" * (MAX_OBJECT_BYTES + 1))
    assert await store.get(key) is None


async def test_a_store_that_many_processes_make_at_the_same_time_is_one(any_bus: Bus) -> None:
    name = f"test-{uuid4().hex}"
    stores = await asyncio.gather(*(any_bus.objects(name, ttl_s) for ttl_s in (60, 120, 60)))
    await stores[0].put("key", b"value")
    assert [await store.get("key") for store in stores] == [b"value"] * 3


async def test_an_object_expires_after_the_ttl_of_its_store(bus: NatsBus) -> None:
    store = await bus.objects(f"test-{uuid4().hex}", 0.3)
    await store.put("key", b"value")
    async with asyncio.timeout(10):
        while await store.get("key") is not None:
            await asyncio.sleep(0.05)


async def test_an_object_whose_chunks_are_gone_is_gone_and_not_waited_for(bus: NatsBus) -> None:
    name = f"test-{uuid4().hex}"
    store = await bus.objects(name, 60)
    await store.put("key", b"value")
    await bus._stream.purge_stream(f"OBJ_{name}", subject=f"$O.{name}.C.>")
    async with asyncio.timeout(1):
        assert await store.get("key") is None
    await store.put("key", b"new")
    assert await store.get("key") == b"new"


async def test_a_damaged_object_is_an_error(bus: NatsBus) -> None:
    name = f"test-{uuid4().hex}"
    store = await bus.objects(name, 60)
    await store.put("key", b"value")
    chunk = await bus._stream.get_msg(f"OBJ_{name}", seq=1, subject=f"$O.{name}.C.>", next=True)
    await bus._stream.purge_stream(f"OBJ_{name}", subject=chunk.subject)
    await bus._stream.publish(chunk.subject or "", b"wrong")
    with pytest.raises(BusError, match="damaged"):
        await store.get("key")


async def test_a_store_that_was_deleted_is_an_error_and_can_be_made_again(
    bus: NatsBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"test-{uuid4().hex}"
    store = await bus.objects(name, 60)
    await bus._stream.delete_object_store(name)
    with monkeypatch.context() as impatient, pytest.raises(BusError):
        impatient.setattr(nats_retry, "TOTAL_S", 0.05)
        await store.put("key", b"value")
    await (await bus.objects(name, 60)).put("key", b"value")
    assert await store.get("key") == b"value"


async def test_a_broker_that_does_not_answer_is_not_waited_for_long(
    bus: NatsBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, bucket = await bus.objects("test-objects", 60), await bus.bucket("test-calls", 60)
    monkeypatch.setattr(nats_retry, "TOTAL_S", 0.05)
    monkeypatch.setattr(nats_objects, "_PUT_S", 1)

    async def never(*args: object, **kwargs: object) -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as silent:
        silent.setattr(bus._control, "request", never)
        asked = (
            store.get("key"),
            store.put("key", b"value"),
            bus.objects("test-objects", 60),
            bucket.get("key"),
            bucket.update("key", b"value", 1),
            bucket.keys(),
            bus.record("call.c1.event.started", b"{}"),
        )
        answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 3)
    assert [type(answer) for answer in answers] == [Disconnected] * len(asked)
