"""The lease desk: who is asked, in which order, and what nobody's answer means."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.gateway.calls import CallRecord, Lease
from services.gateway.leases import StageMissing, Want
from services.gateway.switchboard import Full, TurnAway
from shared.bus import Disconnected
from shared.messages import LeaseChanged
from tests.exchange import Exchange
from tests.fakes import Heard, profile


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[Exchange]:
    made = Exchange()
    await made.start()
    yield made
    await made.stop()


def record(**leases: Lease) -> CallRecord:
    return CallRecord(
        call_id="c1", caller="", dialled="", profile=profile(), gateway="gw-1", leases=leases, started_at=0
    )


async def test_the_worker_that_shall_be_avoided_is_asked_last(exchange: Exchange) -> None:
    second = await exchange.hire("stt-2")
    second.state = "busy"
    lease = await exchange.desk.take(Want(record(), "stt", avoid=("stt-1",)))
    assert (lease.worker, len(second.requests)) == ("stt-1", 1)
    second.state = "granted"
    assert (await exchange.desk.take(Want(record(), "stt", avoid=("stt-1",)))).worker == "stt-2"


async def test_a_worker_may_be_asked_before_all_others(exchange: Exchange) -> None:
    for number in range(2, 10):
        await exchange.hire(f"stt-{number}")
    assert (await exchange.desk.take(Want(record(), "stt", first="stt-7"))).worker == "stt-7"
    exchange.hands["stt-7"].state = "busy"
    assert (await exchange.desk.take(Want(record(), "stt", first="stt-7"))).worker != "stt-7"


async def test_a_lease_tells_the_open_line_and_how_often_the_worker_lost_the_broker(exchange: Exchange) -> None:
    hand = exchange.hands["llm-1"]
    hand.gaps = 3
    exchange.beat()
    lease = await exchange.desk.take(Want(record(), "llm", line=2, line_opened_at=12.5))
    assert lease == Lease(worker="llm-1", epoch=1, gaps=3)
    assert (hand.requests[0].line, hand.requests[0].line_opened_at) == (2, 12.5)
    exchange.now += 2
    exchange.beat()
    assert (await exchange.desk.take(Want(record(), "llm"))).gaps is None


async def test_each_request_has_a_number_of_its_own(exchange: Exchange) -> None:
    heard = await Heard.on(exchange.bus, "c1")
    held = record(stt=Lease(worker="stt-0", epoch=4))
    exchange.hands["stt-1"].hang()
    with pytest.raises(StageMissing) as missing:
        await exchange.desk.take(Want(held, "stt", above=6))
    assert [request.epoch for request in exchange.hands["stt-1"].requests] == [7]
    assert missing.value.epoch == 7
    assert not missing.value.full
    released = await heard.wait_for(LeaseChanged)
    assert (released.state, released.lease_epoch) == ("released", 7)


async def test_a_busy_worker_passes_the_call_on(exchange: Exchange) -> None:
    exchange.hands["stt-1"].state = "busy"
    with pytest.raises(StageMissing) as missing:
        await exchange.desk.take(Want(record(), "stt"))
    assert missing.value.full
    third = await exchange.hire("stt-3")
    third.hang()
    exchange.now += 0.7
    exchange.beat()
    with pytest.raises(StageMissing) as missing:
        await exchange.desk.take(Want(record(), "stt"))
    assert (missing.value.full, third.requests) == (True, [])


async def test_a_refusal_is_not_a_full_house(exchange: Exchange) -> None:
    exchange.hands["tts-1"].state = "refused"
    exchange.hands["stt-1"].state = "busy"
    assert await exchange.switchboard.answer("c1", "", "+15550100") == TurnAway()


async def test_a_full_stage_gives_the_others_back(exchange: Exchange) -> None:
    heard = await Heard.on(exchange.bus, "c1")
    exchange.hands["llm-1"].state = "busy"
    assert await exchange.switchboard.answer("c1", "", "+15550100") == Full()
    await exchange.settle()
    changes = [message for message in heard.messages if isinstance(message, LeaseChanged)]
    released = {(message.leased, message.lease_epoch) for message in changes if message.state == "released"}
    assert released == {("stt", 1), ("tts", 1)}
    assert await exchange.store.get("c1") is None


async def test_without_a_broker_nobody_is_asked_further(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(subject: str, payload: bytes, timeout: float) -> bytes:
        raise Disconnected(subject)

    monkeypatch.setattr(exchange.bus, "request", away)
    with pytest.raises(StageMissing, match="cannot be reached"):
        await asyncio.wait_for(exchange.desk.take(Want(record(), "stt", first="stt-1")), 5)
