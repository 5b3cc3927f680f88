"""Leases on the worker's side."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shared import subjects
from shared.bus import NoResponders
from shared.call import Call
from shared.holdings import GRANTED_WITHIN_S, ORPHANED_AFTER_S
from shared.messages import (
    AudioIn,
    CallEnded,
    CallStarted,
    ErrorHappened,
    LeaseChanged,
)
from shared.messages.audio import pack
from shared.messages.lease import LeaseReply
from shared.messages.worker import Heartbeat
from tests.fakes import FakeSession, Heard, profile
from tests.stage_desk import Desk


@pytest_asyncio.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    await made.worker.start()
    yield made
    await made.worker.drain(0)


async def test_a_lease_opens_a_session(desk: Desk) -> None:
    reply = await desk.ask("c1")
    assert (reply.state, reply.worker) == ("granted", "stt-1")
    assert desk.stage.sessions["c1"].call.profile == profile()
    assert desk.worker.calls == 1


async def test_a_full_worker_leaves_the_queue_and_comes_back(desk: Desk) -> None:
    await desk.ask("c1")
    await desk.ask("c2")
    await asyncio.sleep(0)
    with pytest.raises(NoResponders):
        await desk.ask("c3")
    await desk.gateway("c1").send(CallEnded(reason="caller_hung_up", duration_ms=1))
    await desk.until(1)
    await asyncio.sleep(0)
    assert (await desk.ask("c3")).state == "granted"


async def test_a_straggler_at_a_full_worker_hears_busy(desk: Desk) -> None:
    desk.stage.may_open.clear()
    asking = [asyncio.create_task(desk.ask(f"c{n}")) for n in (1, 2, 3)]
    done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result().state for task in done] == ["busy"]
    desk.stage.may_open.set()
    states = [(await task).state for task in asking]
    assert sorted(states) == ["busy", "granted", "granted"]


async def test_a_call_that_cannot_be_served_is_refused_and_frees_its_slot(desk: Desk) -> None:
    desk.stage.refuse = "DEEPGRAM_API_KEY is not set"
    reply = await desk.ask("c1")
    assert (reply.state, reply.reason) == ("refused", "DEEPGRAM_API_KEY is not set")
    assert desk.worker.calls == 0


async def test_a_stage_that_breaks_down_is_refused_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_down(call: Call) -> FakeSession:
        raise RuntimeError("a wheel came off")

    monkeypatch.setattr(desk.stage, "open", break_down)
    reply = await desk.ask("c1")
    assert (reply.state, reply.reason) == ("refused", "RuntimeError: a wheel came off")
    assert desk.worker.calls == 0


async def test_garbage_is_refused(desk: Desk) -> None:
    reply = LeaseReply.model_validate_json(await desk.bus.request(subjects.lease("stt"), b"{", 5))
    assert reply.state == "refused"
    assert reply.reason.startswith("bad request")


async def test_an_older_lease_is_refused_and_a_newer_one_opens_afresh(desk: Desk) -> None:
    await desk.ask("c1", epoch=3)
    first = desk.stage.sessions["c1"]
    assert (await desk.ask("c1", epoch=3)).state == "refused"
    assert (await desk.ask("c1", epoch=4)).state == "granted"
    await asyncio.wait_for(first.closed.wait(), 5)
    assert desk.worker.calls == 1


@pytest.mark.parametrize(
    ("message", "closes"),
    [
        (CallEnded(reason="caller_hung_up", duration_ms=1), True),
        (LeaseChanged(leased="stt", worker="stt-1", lease_epoch=1, state="released"), True),
        (LeaseChanged(leased="stt", worker="stt-2", lease_epoch=2, state="granted"), True),
        (LeaseChanged(leased="tts", worker="tts-2", lease_epoch=2, state="granted"), False),
        (LeaseChanged(leased="stt", worker="stt-1", lease_epoch=1, state="granted"), False),
        (LeaseChanged(leased="stt", worker="stt-0", lease_epoch=0, state="released"), False),
        (LeaseChanged(leased="stt", worker="", lease_epoch=2, state="released"), False),
        (LeaseChanged(leased="stt", worker="stt-1", lease_epoch=1, state="lost"), False),
    ],
)
async def test_when_a_worker_lets_go(desk: Desk, message: CallEnded | LeaseChanged, closes: bool) -> None:
    await desk.ask("c1")
    await desk.gateway("c1").send(message)
    await desk.bus.settle()
    assert desk.worker.calls == (0 if closes else 1)
    if closes:
        await asyncio.wait_for(desk.stage.sessions["c1"].closed.wait(), 5)
    assert desk.stage.sessions["c1"].closed.is_set() is closes


async def test_a_session_that_fails_says_so_and_ends(desk: Desk) -> None:
    await desk.ask("c1")
    heard = await Heard.on(desk.bus, "c1")

    async def break_down() -> None:
        raise ConnectionResetError("socket lost")

    desk.stage.sessions["c1"].call.spawn(break_down())
    error = await heard.wait_for(ErrorHappened)
    assert (error.error, error.fatal, error.stage) == ("ConnectionResetError: socket lost", True, "stt")
    await desk.until(0)


async def test_a_handler_that_raises_fails_its_session(desk: Desk) -> None:
    await desk.ask("c1")
    heard = await Heard.on(desk.bus, "c1")

    def refuse(frame: AudioIn) -> None:
        raise ValueError("no")

    await desk.stage.sessions["c1"].call.channel.on_audio_in(refuse)
    await desk.bus.publish("call.c1.audio.in", pack(AudioIn(1, 0, 0, b"\xff")))
    assert (await heard.wait_for(ErrorHappened)).error == "ValueError: no"


async def test_calls_of_a_lost_gateway_are_given_up(desk: Desk) -> None:
    await desk.ask("c1")
    await desk.ask("c2")
    for gateway in ("gw-1", "gw-2"):
        desk.roster.note(Heartbeat(stage="gateway", worker=gateway, calls=1, capacity=0, draining=False, loop_lag_ms=0))
    await desk.gateway("c2").send(CallStarted(gateway="gw-2", caller="", dialled="", agent="bella"))
    for call_id in ("c1", "c2"):
        await desk.gateway(call_id).send(_granted())
    await desk.bus.settle()
    desk.time.now += ORPHANED_AFTER_S + 1
    desk.roster.note(Heartbeat(stage="gateway", worker="gw-2", calls=1, capacity=0, draining=False, loop_lag_ms=0))
    desk.beat(0)
    await asyncio.wait_for(desk.stage.sessions["c1"].closed.wait(), 5)
    assert desk.worker.calls == 1
    assert not desk.stage.sessions["c2"].closed.is_set()


async def test_a_lease_that_no_gateway_has_announced_is_let_go_of(desk: Desk) -> None:
    await desk.ask("c1")
    await desk.ask("c2")
    await desk.gateway("c2").send(_granted())
    await desk.bus.settle()
    desk.time.now += GRANTED_WITHIN_S + 1
    desk.beat(0)
    await asyncio.wait_for(desk.stage.sessions["c1"].closed.wait(), 5)
    assert not desk.stage.sessions["c2"].closed.is_set()


def _granted() -> LeaseChanged:
    return LeaseChanged(leased="stt", worker="stt-1", lease_epoch=1, state="granted")


async def test_a_worker_beats(desk: Desk) -> None:
    desk.bus.gaps = 3
    await desk.worker.pulse.send()
    beat = desk.beats[-1]
    assert (beat.stage, beat.calls, beat.capacity, beat.draining) == ("stt", 0, 2, False)
    assert (beat.shedding, beat.gaps) == (False, 3)


async def test_a_worker_is_asked_by_its_name(desk: Desk) -> None:
    assert [(await desk.ask(f"c{n}", directly=True)).state for n in (1, 2, 3)] == ["granted", "granted", "busy"]


async def test_a_draining_worker_waits_for_its_calls(desk: Desk) -> None:
    await desk.ask("c1")
    draining = asyncio.create_task(desk.worker.drain(60))
    await desk.until_out_of_the_queue()
    with pytest.raises(NoResponders):
        await desk.ask("c2")
    # Its own subjects are answered as long as it holds a call.
    assert (await desk.ask("c2", directly=True)).state == "busy"
    assert (await desk.ask("c1", epoch=2, directly=True)).state == "busy"
    assert await desk.bus.request("knock.stt.stt-1", b"", 5) == b""
    assert not draining.done()
    await desk.gateway("c1").send(CallEnded(reason="caller_hung_up", duration_ms=1))
    await asyncio.wait_for(draining, 5)
    assert desk.worker.calls == 0
    assert desk.bus.responders == []


async def test_a_drain_is_told_at_once_and_ends_when_the_calls_have_moved_on(desk: Desk) -> None:
    await desk.ask("c1")
    heard = len(desk.beats)
    draining = asyncio.create_task(desk.worker.drain(60))
    async with asyncio.timeout(5):
        while not any(beat.draining for beat in desk.beats[heard:]):
            await asyncio.sleep(0)
    await desk.gateway("c1").send(LeaseChanged(leased="stt", worker="stt-2", lease_epoch=2, state="granted"))
    await asyncio.wait_for(draining, 5)
    assert desk.stage.sessions["c1"].closed.is_set()


async def test_a_drain_ends_when_the_sessions_are_closed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.ask("c1")
    may_close = asyncio.Event()
    monkeypatch.setattr(desk.stage.sessions["c1"], "close", may_close.wait)
    await desk.gateway("c1").send(CallEnded(reason="caller_hung_up", duration_ms=1))
    await desk.until(0)
    draining = asyncio.create_task(desk.worker.drain(60))
    await desk.until_out_of_the_queue()
    assert not draining.done()
    may_close.set()
    await asyncio.wait_for(draining, 5)
