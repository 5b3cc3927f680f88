"""A worker whose calls are leased anew, that lags, or that has lost the broker for a while."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
import pytest_asyncio
import structlog.testing

from shared.holdings import DOUBTED_FOR_S, ORPHANED_AFTER_S
from shared.messages import (
    AudioIn,
    CallEnded,
    ErrorHappened,
    LeaseChanged,
    SpeechStarted,
    UsageCounted,
)
from shared.messages.audio import pack
from shared.messages.worker import Heartbeat
from shared.shedding import Shedding
from tests.fakes import Heard
from tests.stage_desk import Desk


@pytest_asyncio.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    await made.worker.start()
    yield made
    await made.worker.drain(0)


async def test_a_full_worker_takes_its_own_call_anew(desk: Desk) -> None:
    await desk.ask("c1")
    await desk.ask("c2")
    first = desk.stage.sessions["c1"]
    assert (await desk.ask("c1", epoch=2, line=3, directly=True)).state == "granted"
    await asyncio.wait_for(first.closed.wait(), 5)
    anew = desk.stage.sessions["c1"]
    assert (anew.call.channel.epoch, anew.call.line, anew.call.line_opened_at) == (2, 3, 2700.0)
    assert (desk.worker.calls, anew.closed.is_set()) == (2, False)


async def test_a_lease_does_not_wait_for_the_end_of_the_session_before(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.ask("c1")
    may_close = asyncio.Event()
    old = desk.stage.sessions["c1"]
    monkeypatch.setattr(old, "close", may_close.wait)
    assert (await desk.ask("c1", epoch=2)).state == "granted"
    heard = await Heard.on(desk.bus, "c1")
    # What it still says is nobody's concern, except for the bill.
    await old.call.channel.send(SpeechStarted(utterance=1, t_ms=0))
    await old.call.channel.send(UsageCounted(provider="p", model="m", amounts={}))
    await desk.bus.settle()
    assert [(type(message), message.epoch) for message in heard.messages] == [(UsageCounted, 1)]
    may_close.set()


async def test_a_session_that_failed_is_leased_anew_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.ask("c1")
    may_close = asyncio.Event()
    monkeypatch.setattr(desk.stage.sessions["c1"], "close", may_close.wait)
    desk.stage.sessions["c1"].call.fail(ConnectionResetError("socket lost"))
    await desk.until(0)
    assert (await desk.ask("c1", epoch=2)).state == "granted"
    may_close.set()
    await desk.bus.settle()
    assert not desk.stage.sessions["c1"].closed.is_set()


@pytest.mark.parametrize(
    "message",
    [
        CallEnded(reason="caller_hung_up", duration_ms=1),
        LeaseChanged(leased="stt", worker="", lease_epoch=1, state="released"),
        LeaseChanged(leased="stt", worker="stt-2", lease_epoch=2, state="granted"),
    ],
)
async def test_a_call_that_moves_on_while_it_is_opened_is_not_kept(
    desk: Desk, message: CallEnded | LeaseChanged
) -> None:
    desk.stage.may_open.clear()
    asking = asyncio.create_task(desk.ask("c1"))
    await asyncio.wait_for(desk.stage.opening.wait(), 5)
    assert (await desk.ask("c1")).state == "busy"
    await desk.gateway("c1").send(message)
    # Whoever still waits for it may ask another.
    assert ((await asyncio.wait_for(asking, 5)).state, desk.worker.calls) == ("busy", 0)
    desk.stage.may_open.set()
    assert (await desk.ask("c1", epoch=3)).state == "granted"


async def test_a_worker_hears_no_line_older_than_the_open_one(desk: Desk) -> None:
    await desk.ask("c1", line=2)
    frames: list[AudioIn] = []
    await desk.stage.sessions["c1"].call.channel.on_audio_in(frames.append)
    for line in (1, 2):
        await desk.bus.publish("call.c1.audio.in", pack(AudioIn(line, 0, 0, b"\xff")))
    await desk.bus.settle()
    assert [frame.epoch for frame in frames] == [2]


async def test_a_worker_that_lags_takes_no_new_calls(desk: Desk) -> None:
    await desk.ask("c1")
    with structlog.testing.capture_logs() as logs:
        desk.beat(101, 500, 101)
        await desk.until_out_of_the_queue()
        assert (await desk.ask("c2", directly=True)).state == "busy"
        assert (await desk.ask("c1", epoch=2, directly=True)).state == "granted"
        await desk.worker.pulse.send()
        assert desk.beats[-1].shedding
        desk.beat(0, 49, 50, 0, 0, 0, 0)
    events = [line["event"] for line in logs if line["event"].startswith("shedding")]
    assert events == ["shedding_began", "shedding_ended"]
    await asyncio.sleep(0)
    assert (await desk.ask("c2")).state == "granted"


@pytest.mark.parametrize(
    ("lag_ms", "lags", "expected"),
    [
        (100, [101, 101, 101], [False, False, True]),
        (100, [101, 101, 100, 101, 101], [False] * 5),
        (100, [101, 101, 101, 49, 49, 50, 49, 49, 49], [False, False, *[True] * 6, False]),
        (0, [5000] * 4, [False] * 4),
    ],
)
def test_load_is_shed_after_three_beats(lag_ms: float, lags: list[float], expected: list[bool]) -> None:
    shedding, active, changes = Shedding(lag_ms), [], []
    for lag in lags:
        changes.append(shedding.note(lag))
        active.append(shedding.active)
    assert active == expected
    assert changes == [now != before for before, now in pairwise([False, *expected])]


async def test_a_call_that_nobody_leases_anew_after_a_gap_is_given_back(desk: Desk) -> None:
    await desk.ask("c1")
    await desk.ask("c2")
    desk.bus.gaps = 1
    heard = await Heard.on(desk.bus, "c1")
    desk.beat(0)
    assert (await desk.ask("c2", epoch=2, directly=True)).state == "granted"
    await desk.gateway("c2").send(LeaseChanged(leased="stt", worker="stt-1", lease_epoch=2, state="granted"))
    await desk.bus.settle()
    desk.time.now += DOUBTED_FOR_S - 1
    desk.beat(0)
    assert desk.worker.calls == 2
    desk.time.now += 2
    desk.beat(0)
    error = await heard.wait_for(ErrorHappened)
    assert (error.fatal, error.epoch) == (True, 1)
    assert error.error.startswith("LeaseInDoubt")
    await asyncio.wait_for(desk.stage.sessions["c1"].closed.wait(), 5)
    assert (desk.worker.calls, desk.stage.sessions["c2"].closed.is_set()) == (1, False)


async def test_each_gap_gives_the_gateways_their_time_again(desk: Desk) -> None:
    await desk.ask("c1")
    for gaps in (1, 2):
        desk.bus.gaps = gaps
        desk.beat(0)
        desk.time.now += DOUBTED_FOR_S - 1
    desk.bus.connected = False
    desk.time.now += DOUBTED_FOR_S
    desk.beat(0)
    assert desk.worker.calls == 1


async def test_the_silence_of_a_gateway_does_not_count_behind_a_gap(desk: Desk) -> None:
    await desk.ask("c1")
    desk.roster.note(Heartbeat(stage="gateway", worker="gw-1", calls=1, capacity=0, draining=False, loop_lag_ms=0))
    desk.time.now += ORPHANED_AFTER_S + 1
    desk.bus.gaps = 1
    desk.beat(0)
    assert desk.worker.calls == 1
