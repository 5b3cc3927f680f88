"""Leases on the worker's side."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shared import subjects
from shared.bus import NoResponders
from shared.call import Call
from shared.channel import CallChannel
from shared.memory_bus import MemoryBus
from shared.messages import AudioIn, CallEnded, CallStarted, ErrorHappened, LeaseChanged
from shared.messages.audio import pack
from shared.messages.lease import LeaseReply, LeaseRequest
from shared.messages.worker import Heartbeat
from shared.roster import Roster
from shared.stage import ORPHANED_AFTER_S, StageWorker
from tests.fakes import FakeSession, FakeStage, Heard, profile


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """One worker and the bus it listens on."""

    def __init__(self, max_calls: int = 2) -> None:
        self.bus = MemoryBus()
        self.stage = FakeStage("stt")
        self.time = Time()
        self.roster = Roster(self.time)
        self.worker = StageWorker(self.bus, self.stage, "stt-1", max_calls, self.roster)

    async def ask(self, call_id: str, epoch: int = 1) -> LeaseReply:
        request = LeaseRequest(call_id=call_id, stage="stt", epoch=epoch, gateway="gw-1", profile=profile())
        answer = await self.bus.request(subjects.lease("stt"), request.model_dump_json().encode(), 5)
        return LeaseReply.model_validate_json(answer)

    def gateway(self, call_id: str, line: int = 1) -> CallChannel:
        return CallChannel(self.bus, call_id, "gateway", line)

    async def until(self, calls: int) -> None:
        async with asyncio.timeout(5):
            while self.worker.calls != calls:
                await asyncio.sleep(0)


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
    assert first.closed.is_set()
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
    ],
)
async def test_when_a_worker_lets_go(desk: Desk, message: CallEnded | LeaseChanged, closes: bool) -> None:
    await desk.ask("c1")
    await desk.gateway("c1").send(message)
    await desk.bus.settle()
    if closes:
        await desk.until(0)
    assert desk.worker.calls == (0 if closes else 1)
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
    await desk.bus.settle()
    desk.time.now += ORPHANED_AFTER_S + 1
    desk.roster.note(Heartbeat(stage="gateway", worker="gw-2", calls=1, capacity=0, draining=False, loop_lag_ms=0))
    await desk.until(1)
    assert desk.stage.sessions["c1"].closed.is_set()
    assert not desk.stage.sessions["c2"].closed.is_set()


async def test_a_draining_worker_waits_for_its_calls(desk: Desk) -> None:
    await desk.ask("c1")
    draining = asyncio.create_task(desk.worker.drain(60))
    while desk.bus.responders:
        await asyncio.sleep(0)
    with pytest.raises(NoResponders):
        await desk.ask("c2")
    assert not draining.done()
    await desk.gateway("c1").send(CallEnded(reason="caller_hung_up", duration_ms=1))
    await asyncio.wait_for(draining, 5)
    assert desk.worker.calls == 0


async def test_a_worker_beats(desk: Desk) -> None:
    beats: list[Heartbeat] = []
    async with asyncio.timeout(5):
        while not beats:
            await asyncio.sleep(0)
            beats = [Heartbeat.model_validate_json(b) for s, b in desk.bus.published if s == "worker.stt.stt-1"]
    assert (beats[0].stage, beats[0].calls, beats[0].capacity, beats[0].draining) == ("stt", 0, 2, False)
