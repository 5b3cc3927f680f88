"""The gateway's side of takeovers on real sockets and a real broker: workers that die, hang, drain or lose it."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import aiohttp
import pytest_asyncio

from shared import nats_bus, subjects
from shared.call import Call
from shared.messages import AudioIn, LeaseChanged, SpeechStarted, StageTaken
from shared.nats_bus import NatsBus
from shared.pulse import BEAT_S
from shared.roster import DEAD_AFTER_S
from shared.stage import StageWorker
from tests.fakes import FakeSession, FakeStage, Heard
from tests.integration.gateway_peer import Peer, media_frame, serve


@dataclass
class Hired:
    """A worker with a connection of its own."""

    bus: NatsBus
    stage: "EarStage"
    worker: StageWorker

    @property
    def name(self) -> str:
        return self.worker.worker

    async def die(self) -> None:
        """As SIGKILL: the connection breaks, and nothing is said."""
        self.worker.pulse.stop()
        for client in (self.bus._control, self.bus._audio):
            await client.close()

    def hang(self) -> None:
        """As SIGSTOP, as far as others notice: no heartbeat, and what it is asked is not answered."""
        self.worker.pulse.stop()
        self.stage.may_open.clear()


class EarStage(FakeStage):
    """A stage that keeps the caller's frames."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.frames: list[AudioIn] = []

    async def open(self, call: Call) -> FakeSession:
        session = await super().open(call)
        await call.channel.on_audio_in(self.frames.append)
        return session


@dataclass
class Stand:
    """A gateway whose workers of one stage come and go."""

    peer: Peer
    bus: NatsBus
    url: str
    stack: AsyncExitStack

    async def hire(self, stage: str) -> Hired:
        """Another worker, once the gateway has heard of it."""
        return await self.stack.enter_async_context(_hired(self.url, stage, self.bus))

    async def only(self, stage: str) -> Hired:
        """A worker that has the stage for itself."""
        await self.peer.workers[stage].drain(0)
        return await self.hire(stage)


async def _beats(bus: NatsBus, stage: str, worker: str, count: int) -> None:
    """Return when so many heartbeats were heard."""
    beats: asyncio.Queue[bytes] = asyncio.Queue()

    async def heard(subject: str, payload: bytes) -> None:
        beats.put_nowait(payload)

    subscription = await bus.subscribe(subjects.heartbeat(stage, worker), heard)
    await bus.flush()
    async with asyncio.timeout(10):
        for _ in range(count):
            await beats.get()
    await subscription.drain()


@asynccontextmanager
async def _hired(url: str, name: str, bus: NatsBus) -> AsyncIterator[Hired]:
    own = await nats_bus.connect(url, name)
    stage = EarStage(name)
    hired = Hired(own, stage, StageWorker(own, stage, f"{name}-{uuid4().hex[:6]}", 25))
    beating = asyncio.create_task(_beats(bus, name, hired.name, 1))
    await hired.worker.start()
    await beating
    yield hired
    stage.may_open.set()
    if not own._control.is_closed:
        await hired.worker.drain(0)
        await own.close()


@pytest_asyncio.fixture
async def stand(bus: NatsBus, nats_url: str) -> AsyncIterator[Stand]:
    async with serve(bus) as peer, AsyncExitStack() as stack:
        # A gateway trusts what it hears of others when it has heard itself for a while.
        await _beats(bus, "gateway", "*", math.ceil(DEAD_AFTER_S / BEAT_S) + 2)
        yield Stand(peer, bus, nats_url, stack)


async def say(media: aiohttp.ClientWebSocketResponse, frames: range) -> None:
    for seq in frames:
        await media.send_str(media_frame(20 * seq, bytes([seq]) * 160))


async def until_heard(hired: Hired, frames: range) -> None:
    """Return when it has heard these of the carrier's frames, and no others."""
    spoken = b"".join(bytes([seq]) * 160 for seq in frames)
    async with asyncio.timeout(5):
        while len(heard := b"".join(frame.payload for frame in hired.stage.frames)) < len(spoken):
            await asyncio.sleep(0.01)
    assert heard == spoken


async def test_a_dead_ears_call_goes_on_with_another_that_hears_the_open_utterance(stand: Stand) -> None:
    first = await stand.only("stt")
    call_id, media = await stand.peer.live()
    heard = await Heard.on(stand.bus, call_id)
    await say(media, range(60))
    await until_heard(first, range(60))
    await first.stage.sessions[call_id].call.channel.send(SpeechStarted(utterance=1, t_ms=700, line=1))
    await heard.wait_for(SpeechStarted)
    second = await stand.hire("stt")
    loop = asyncio.get_running_loop()
    died_at = loop.time()
    await first.die()
    await say(media, range(60, 70))
    taken = await heard.wait_for(StageTaken)
    assert loop.time() - died_at < 1.0
    assert (taken.leased, taken.worker, taken.lease_epoch) == ("stt", second.name, 2)
    await say(media, range(70, 90))
    await until_heard(second, range(20, 90))
    assert second.stage.frames[0].timestamp_ms == 400
    seqs = [frame.seq for frame in second.stage.frames]
    assert seqs == [*range(seqs[0], seqs[0] + len(seqs))]
    call = second.stage.sessions[call_id].call
    assert call.line == 1
    assert call.line_opened_at > 0


async def test_a_hung_workers_calls_go_on_with_one_that_lives(stand: Stand) -> None:
    first = await stand.only("llm")
    call_id, _ = await stand.peer.live()
    heard = await Heard.on(stand.bus, call_id)
    second, third = await stand.hire("llm"), await stand.hire("llm")
    second.hang()
    first.hang()
    taken = await heard.wait_for(StageTaken)
    assert (taken.leased, taken.worker) == ("llm", third.name)
    assert await asyncio.wait_for(first.stage.sessions[call_id].closed.wait(), 5)
    assert second.stage.sessions == {}


async def test_a_draining_worker_is_empty_in_no_time(stand: Stand) -> None:
    first = await stand.only("tts")
    call_id, _ = await stand.peer.live()
    heard = await Heard.on(stand.bus, call_id)
    second = await stand.hire("tts")
    await asyncio.wait_for(first.worker.drain(20), 3)
    taken = await heard.wait_for(StageTaken)
    assert (taken.leased, taken.worker) == ("tts", second.name)
    assert (await heard.wait_for(LeaseChanged)).state == "granted"


async def test_a_worker_that_lost_the_broker_for_a_moment_is_leased_anew(stand: Stand) -> None:
    first = await stand.only("llm")
    call_id, _ = await stand.peer.live()
    heard = await Heard.on(stand.bus, call_id)
    session = first.stage.sessions[call_id]
    await first.bus._control.force_reconnect()
    taken = await heard.wait_for(StageTaken)
    assert (taken.leased, taken.worker, taken.lease_epoch) == ("llm", first.name, 2)
    assert first.stage.sessions[call_id] is not session


async def test_a_gateway_that_lost_the_broker_leases_everything_anew(stand: Stand) -> None:
    call_id, media = await stand.peer.live()
    observer = await nats_bus.connect(stand.url, "observer")
    heard = await Heard.on(observer, call_id)
    await stand.bus._control.force_reconnect()
    for count in range(3):
        await heard.wait_for(StageTaken, count + 1)
    leased = {message.leased for message in heard.messages if isinstance(message, StageTaken)}
    assert leased == {"stt", "llm", "tts"}
    assert not media.closed
    await observer.close()
