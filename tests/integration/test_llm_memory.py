"""A dialogue kept by a real broker."""

import asyncio
from collections.abc import Coroutine
from typing import Any
from uuid import uuid4

import pytest

from services.llm.memory import Memory
from services.llm.record import Record
from services.llm.store import BUCKET, KEEP_S, MemoryStore
from shared import nats_bus
from shared.bus import BusError
from shared.nats_bus import NatsBus


def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work)


async def store_of(bus: NatsBus, call_id: str) -> MemoryStore:
    return MemoryStore(await bus.bucket(BUCKET, KEEP_S), call_id, 1, spawn)


async def test_what_one_worker_saved_another_loads(bus: NatsBus, nats_url: str) -> None:
    call_id = f"sim-{uuid4().hex}"
    memory = Memory(await (await store_of(bus, call_id)).load(), 10)
    assert not memory.begun
    store = await store_of(bus, call_id)
    generation = memory.reply_began(memory.caller_said("what are your hours")).generation
    store.save(memory.record)
    memory.heard(generation, "We are open.", over=True)
    store.save(memory.record)
    await store.close(5)

    other = await nats_bus.connect(nats_url, "other")
    loaded = await (await store_of(other, call_id)).load()
    await other.close()
    assert loaded == memory.record
    assert Memory(loaded, 10).next_generation() == generation + 1


async def test_a_broker_that_is_gone_fails_a_load_and_costs_only_a_save(nats_url: str) -> None:
    bus = await nats_bus.connect(nats_url, "gone")
    store = await store_of(bus, f"sim-{uuid4().hex}")
    await bus.close()
    with pytest.raises(BusError):
        await store.load()
    store.save(Record(generation=1))
    await store.close(5)
