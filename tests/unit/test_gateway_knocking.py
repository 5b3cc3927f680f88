"""Whom a gateway knocks at, and whom it does not find."""

import asyncio
from collections import Counter

from services.gateway.knocking import AT_ONCE, Knocks
from shared.memory_bus import MemoryBus


async def rounds(knocks: Knocks, workers: dict[str, str], count: int) -> None:
    for _ in range(count):
        knocks.round(workers)
        while knocks._under_way:
            await asyncio.sleep(0)


def fleet(size: int) -> dict[str, str]:
    return {f"stt-{number:03}": "stt" for number in range(size)}


async def attended(bus: MemoryBus, workers: dict[str, str]) -> Counter[str]:
    """How often each worker was knocked at."""
    knocked: Counter[str] = Counter()

    async def attend(worker: str, stage: str) -> None:
        async def count(payload: bytes) -> bytes:
            knocked[worker] += 1
            return b""

        await bus.respond(f"knock.{stage}.{worker}", count, queue=worker)

    for worker, stage in workers.items():
        await attend(worker, stage)
    return knocked


async def test_a_few_workers_are_knocked_at_in_every_round() -> None:
    bus, workers = MemoryBus(), fleet(AT_ONCE)
    knocked = await attended(bus, workers)
    await rounds(Knocks(bus), workers, 3)
    assert knocked == dict.fromkeys(workers, 3)


async def test_many_workers_are_knocked_at_in_turns() -> None:
    bus, workers = MemoryBus(), fleet(3 * AT_ONCE)
    knocked = await attended(bus, workers)
    knocks = Knocks(bus)
    await rounds(knocks, workers, 1)
    assert knocked.total() == AT_ONCE
    await rounds(knocks, workers, 5)
    assert knocked == dict.fromkeys(workers, 2)


async def test_who_was_not_there_is_knocked_at_in_the_next_round_again() -> None:
    bus, workers, now = MemoryBus(), fleet(3 * AT_ONCE), 0.0
    there = {worker: stage for worker, stage in workers.items() if worker != "stt-005"}
    await attended(bus, there)
    knocks = Knocks(bus, lambda: now)
    for _ in range(4):
        await rounds(knocks, workers, 1)
        now += 0.1
    assert knocks.misses.gone_since("stt-005") == 0.0
    assert knocks.misses.workers == ["stt-005"]
