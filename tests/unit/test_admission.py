"""What a caller meets when every worker is full."""

from collections.abc import Sequence

import pytest

from services.gateway.admission import Admission, Busy, SendOn, Wait, free_places
from services.gateway.waiting import GONE_AFTER_S
from shared.bus import WrongRevision
from shared.memory_bus import MemoryBus
from shared.messages.worker import Heartbeat
from shared.roster import Roster
from shared.settings import Settings


class Fleet:
    """Two gateways' admissions on one bus, with a clock and a number of free places."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.free = 0
        self.bus = MemoryBus()

    async def admission(self, **settings: object) -> Admission:
        bucket = await self.bus.bucket("waiting", 60)
        return Admission(bucket, Settings.model_validate(settings), self.stages, lambda stages: self.free, self.clock)

    def stages(self, dialled: str) -> Sequence[str]:
        return ("speech",) if dialled == "echo" else ("stt", "llm", "tts")

    def clock(self) -> float:
        return self.now


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


async def test_say_turns_the_caller_away(fleet: Fleet) -> None:
    admission = await fleet.admission()
    assert await admission.may_try("c1", "+1")
    assert await admission.full("c1", "+1") == Busy()
    assert not await admission.waits("c1")


async def test_redirect_sends_the_caller_on(fleet: Fleet) -> None:
    admission = await fleet.admission(busy_action="redirect", busy_number="+4930123456")
    assert await admission.full("c1", "+1") == SendOn("+4930123456")


async def test_the_queue_is_the_fleets(fleet: Fleet) -> None:
    one, other = await fleet.admission(busy_action="queue"), await fleet.admission(busy_action="queue")
    assert await one.full("c1", "+1") == Wait(1, greet=True, tell=True)
    assert await other.full("c2", "+1") == Wait(2, greet=True, tell=True)
    assert await one.full("c2", "+1") == Wait(2, greet=False, tell=False)
    assert await other.may_try("c1", "+1")
    assert not await one.may_try("c2", "+1")
    assert not await one.may_try("c3", "+1")
    assert await one.may_try("c3", "echo")
    await other.left("c1")
    assert await one.may_try("c2", "+1")
    assert await one.full("c2", "+1") == Wait(1, greet=False, tell=True)
    fleet.free = 2
    assert await other.may_try("c3", "+1")


async def test_the_queue_has_an_end(fleet: Fleet) -> None:
    admission = await fleet.admission(busy_action="queue", queue_limit=2)
    await admission.full("c1", "+1")
    await admission.full("c2", "+1")
    assert await admission.full("c3", "+1") == Busy()
    assert await admission.full("c1", "+1") == Wait(1, greet=False, tell=False)
    fleet.now += GONE_AFTER_S + 1
    assert await admission.full("c3", "+1") == Wait(1, greet=True, tell=True)


async def test_nobody_waits_for_ever(fleet: Fleet) -> None:
    admission = await fleet.admission(busy_action="queue", queue_wait_s=20)
    await admission.full("c1", "+1")
    fleet.now += 10
    await admission.full("c1", "+1")
    fleet.now += 10.1
    assert await admission.full("c1", "+1") == Busy()
    assert not await admission.waits("c1")


async def test_callers_who_come_at_once_all_get_a_place(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    admission = await fleet.admission(busy_action="queue")
    bucket = await fleet.bus.bucket("waiting", 60)
    put, conflicts = bucket.update, 3
    await admission.full("c1", "+1")

    async def update(key: str, value: bytes, revision: int) -> int:
        nonlocal conflicts
        conflicts -= 1
        if conflicts > 0:
            raise WrongRevision(key)
        return await put(key, value, revision)

    monkeypatch.setattr(type(bucket), "update", lambda self, *arguments: update(*arguments))
    assert await admission.full("c2", "+1") == Wait(2, greet=True, tell=True)


def test_free_places_are_those_of_the_narrowest_stage() -> None:
    roster = Roster(lambda: 0.0)
    for worker, calls, draining, shedding in (
        ("stt-1", 1, False, False),
        ("llm-1", 24, False, False),
        ("llm-2", 25, False, False),
        ("llm-3", 0, True, False),
        ("llm-4", 0, False, True),
    ):
        beat = Heartbeat(
            stage=worker[:3],
            worker=worker,
            calls=calls,
            capacity=25,
            draining=draining,
            shedding=shedding,
            loop_lag_ms=0,
        )
        roster.note(beat)
    assert free_places(roster, ("stt", "llm")) == 1
    assert free_places(roster, ("stt", "tts")) == 0
