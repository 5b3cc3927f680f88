"""Calls whose gateway died: ended once, unless their carrier came back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest_asyncio

from services.gateway.calls import CallRecord, CallStore
from services.gateway.endings import REDIAL_WITHIN_S, Endings
from services.gateway.fellows import Fellows
from services.gateway.lines import Lines
from services.gateway.orphans import Orphans
from shared.memory_bus import MemoryBus
from shared.messages import CallEnded
from shared.messages.worker import Heartbeat
from shared.roster import Roster
from tests.fakes import Heard, profile


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Fleet:
    """Gateways `a`, that died or not, and `b` and `c`, which look after its calls."""

    bus: MemoryBus
    store: CallStore
    time: Time = field(default_factory=Time)
    endings: dict[str, Endings] = field(default_factory=dict)
    orphans: dict[str, Orphans] = field(default_factory=dict)
    rosters: dict[str, Roster] = field(default_factory=dict)

    def gateway(self, name: str) -> None:
        roster = self.rosters[name] = Roster(self.time)
        ends = self.endings[name] = Endings(self.bus, self.store, Lines())
        self.orphans[name] = Orphans(Fellows(roster, name), self.store, ends, self.time)

    async def put(self, call_id: str, gateway: str, line: int = 1) -> None:
        record = CallRecord(
            call_id=call_id,
            caller="",
            dialled="",
            profile=profile(),
            gateway=gateway,
            state="live",
            line=line,
            started_at=0,
        )
        await self.store.create(record)

    async def states(self) -> dict[str, str]:
        records = [await self.store.get(call_id) for call_id in ("c1", "c2")]
        return {record.call_id: record.state for record in records if record}

    async def live(self, seconds: float, beating: str) -> None:
        """Time passes; the gateways named in `beating` beat."""
        for _ in range(int(seconds * 4)):
            self.time.now += 0.25
            for name in beating:
                for roster in self.rosters.values():
                    roster.note(
                        Heartbeat(stage="gateway", worker=name, calls=0, capacity=0, draining=False, loop_lag_ms=0)
                    )
            for orphans in self.orphans.values():
                orphans.check()
            for _ in range(3):
                await asyncio.sleep(0)
        for ends in self.endings.values():
            await asyncio.gather(*ends._tasks)


@pytest_asyncio.fixture
async def fleet() -> AsyncIterator[Fleet]:
    bus = MemoryBus()
    made = Fleet(bus, await CallStore.open(bus))
    for name in "bc":
        made.gateway(name)
    yield made
    for ends in made.endings.values():
        ends.stop()


async def test_the_calls_of_a_dead_gateway_end_once(fleet: Fleet) -> None:
    await fleet.put("c1", "a")
    await fleet.put("c2", "b")
    heard = await Heard.on(fleet.bus, "c1")
    await fleet.live(12, "abc")
    assert await fleet.states() == {"c1": "live", "c2": "live"}
    await fleet.live(REDIAL_WITHIN_S - 1, "bc")
    assert await fleet.states() == {"c1": "live", "c2": "live"}
    await fleet.live(2, "bc")
    assert await fleet.states() == {"c1": "ended", "c2": "live"}
    await fleet.bus.settle()
    assert [message.reason for message in heard.messages if isinstance(message, CallEnded)] == ["carrier_lost"]


async def test_a_call_that_was_adopted_goes_on(fleet: Fleet) -> None:
    await fleet.put("c1", "a")
    await fleet.live(12, "abc")
    token = await fleet.store.issue_token("c1", "b")
    await fleet.live(8, "bc")
    assert await fleet.store.redeem_token("c1", token or "", "b")
    await fleet.live(20, "bc")
    assert await fleet.states() == {"c1": "live"}


async def test_a_call_that_another_gateway_has_answered_again_is_its_own(fleet: Fleet) -> None:
    await fleet.put("c1", "a")
    await fleet.live(20, "abc")
    await fleet.store.issue_token("c1", "b")
    await fleet.live(20, "bc")
    assert await fleet.states() == {"c1": "live"}


async def test_calls_left_by_a_gateway_that_nobody_has_heard_end_after_the_start(fleet: Fleet) -> None:
    await fleet.put("c1", "a")
    await fleet.live(REDIAL_WITHIN_S - 1, "bc")
    assert await fleet.states() == {"c1": "live"}
    await fleet.live(2, "bc")
    assert await fleet.states() == {"c1": "ended"}


async def test_while_the_broker_is_away_nobody_is_judged(fleet: Fleet) -> None:
    await fleet.put("c1", "a")
    await fleet.live(12, "abc")
    await fleet.live(60, "")
    await fleet.live(REDIAL_WITHIN_S - 1, "bc")
    assert await fleet.states() == {"c1": "live"}
    await fleet.live(5, "abc")
    assert await fleet.states() == {"c1": "live"}


async def test_the_records_are_read_only_when_a_gateway_is_lost(fleet: Fleet) -> None:
    reads = 0
    keys = fleet.store.live

    async def counted() -> list[CallRecord]:
        nonlocal reads
        reads += 1
        return await keys()

    fleet.store.live = counted  # type: ignore[method-assign]
    await fleet.live(60, "abc")
    assert reads == 2, "once for each gateway after its start"
    await fleet.live(60, "bc")
    assert reads == 4, "once more for each"
