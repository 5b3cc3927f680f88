"""The echo over a real broker: leased as a gateway leases it, and as a process of its own."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from services.speech.stage import SpeechStage
from shared import subjects
from shared.bus import NoResponders, RequestTimeout
from shared.channel import CallChannel
from shared.messages import AudioOut, CallEnded, LeaseChanged, Message
from shared.messages.lease import LeaseReply, LeaseRequest
from shared.messages.worker import Heartbeat
from shared.nats_bus import NatsBus
from shared.settings import Settings
from shared.stage import StageWorker
from tests.fakes import profile

FRAMES = [bytes([seq % 256]) * 160 for seq in range(100)]


async def lease(
    bus: NatsBus, call_id: str, agent: str = "echo", *, subject: str = subjects.lease("speech"), epoch: int = 1
) -> LeaseReply:
    request = LeaseRequest(call_id=call_id, stage="speech", epoch=epoch, gateway="gw", profile=profile(agent))
    answer = await bus.request(subject, request.model_dump_json().encode(), 5)
    return LeaseReply.model_validate_json(answer)


async def echo_of(bus: NatsBus, gateway: CallChannel, frames: list[bytes]) -> list[AudioOut]:
    """What comes back for `frames`, a multiple of 100 ms."""
    echoes: asyncio.Queue[AudioOut] = asyncio.Queue()
    await gateway.on_audio_out("speech", echoes.put_nowait)
    await gateway.flush()
    for seq, frame in enumerate(frames):
        await gateway.send_audio_in(seq, seq * 20, frame)
    async with asyncio.timeout(10):
        return [await echoes.get() for _ in range(len(frames) // 5)]


async def test_the_caller_hears_every_byte_again(bus: NatsBus) -> None:
    worker = StageWorker(bus, SpeechStage(Settings()), "speech-test", 2)
    await worker.start()
    call_id = f"test-{uuid4().hex}"
    assert (await lease(bus, call_id)).state == "granted"
    gateway = CallChannel(bus, call_id, "gateway", 1)
    pieces = await echo_of(bus, gateway, FRAMES)
    assert b"".join(piece.payload for piece in pieces) == b"".join(FRAMES)
    assert [piece.offset_ms for piece in pieces] == list(range(0, 2000, 100))
    await gateway.close()
    await worker.drain(0)


async def test_a_cascade_call_is_refused_with_a_reason(bus: NatsBus) -> None:
    worker = StageWorker(bus, SpeechStage(Settings()), "speech-test", 2)
    await worker.start()
    reply = await lease(bus, f"test-{uuid4().hex}", "bella")
    assert reply.state == "refused"
    assert "pipeline" in reply.reason
    await worker.drain(0)


@asynccontextmanager
async def worker_process(bus: NatsBus, nats_url: str) -> AsyncIterator[tuple[Process, str]]:
    """A process that beats, and its worker id."""
    beating: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    environment = os.environ | {"NATS_URL": nats_url, "HOST": "127.0.0.1", "PORT": "0"}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.speech", env=environment)

    async def beat(subject: str, payload: bytes) -> None:
        if f"-{process.pid}-" in subject and not beating.done():
            beating.set_result(Heartbeat.model_validate_json(payload).worker)

    await bus.subscribe(subjects.heartbeat("speech", "*"), beat)
    try:
        yield process, await asyncio.wait_for(beating, 15)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_worker_process_echoes_and_stops_when_told(bus: NatsBus, nats_url: str) -> None:
    async with worker_process(bus, nats_url) as (process, _):
        call_id = f"test-{uuid4().hex}"
        assert (await lease(bus, call_id)).state == "granted"
        gateway = CallChannel(bus, call_id, "gateway", 1)
        pieces = await echo_of(bus, gateway, FRAMES)
        assert b"".join(piece.payload for piece in pieces) == b"".join(FRAMES)
        await gateway.send(CallEnded(reason="caller_hung_up", duration_ms=1))
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_a_worker_process_drains_until_its_call_has_moved_on(bus: NatsBus, nats_url: str) -> None:
    async with worker_process(bus, nats_url) as (process, worker):
        drained: asyncio.Queue[Heartbeat] = asyncio.Queue()

        async def beat(subject: str, payload: bytes) -> None:
            if (seen := Heartbeat.model_validate_json(payload)).draining:
                drained.put_nowait(seen)

        await bus.subscribe(subjects.heartbeat("speech", worker), beat)
        await bus.flush()
        call_id = f"test-{uuid4().hex}"
        assert (await lease(bus, call_id)).state == "granted"
        process.send_signal(signal.SIGTERM)
        assert (await asyncio.wait_for(drained.get(), 5)).calls == 1
        process.send_signal(signal.SIGTERM)
        # Nobody asks it in the queue group any more, but it answers by its name.
        with pytest.raises(NoResponders):
            await lease(bus, f"test-{uuid4().hex}")
        assert await bus.request(subjects.knock("speech", worker), b"", 5) == b""
        assert (await lease(bus, call_id, subject=subjects.lease_of("speech", worker), epoch=2)).state == "busy"
        gateway = CallChannel(bus, call_id, "gateway", 1)
        await gateway.send(LeaseChanged(leased="speech", worker="speech-2", lease_epoch=2, state="granted"))
        assert await asyncio.wait_for(process.wait(), 10) == 0
        with pytest.raises(NoResponders):
            await bus.request(subjects.knock("speech", worker), b"", 5)


async def test_a_worker_process_that_slept_lets_go_of_what_was_leased_elsewhere(bus: NatsBus, nats_url: str) -> None:
    async with worker_process(bus, nats_url) as (process, worker):
        call_id = f"test-{uuid4().hex}"
        assert (await lease(bus, call_id)).state == "granted"
        gateway = CallChannel(bus, call_id, "gateway", 1)
        echoes: list[AudioOut] = []

        free = asyncio.Event()

        async def beat(subject: str, payload: bytes) -> None:
            if Heartbeat.model_validate_json(payload).calls == 0:
                free.set()

        await gateway.on_audio_out("speech", echoes.append)
        await gateway.on(_ignore, LeaseChanged)
        await bus.subscribe(subjects.heartbeat("speech", worker), beat)
        await gateway.flush()
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(RequestTimeout):
            await bus.request(subjects.knock("speech", worker), b"", 0.2)
        await gateway.send(LeaseChanged(leased="speech", worker="speech-2", lease_epoch=2, state="granted"))
        for seq, frame in enumerate(FRAMES):
            await gateway.send_audio_in(seq, seq * 20, frame)
        await bus.flush()
        process.send_signal(signal.SIGCONT)
        await asyncio.wait_for(free.wait(), 5)
        assert await bus.request(subjects.knock("speech", worker), b"", 5) == b""
        # What it still said before it knew is of an older lease.
        assert echoes == []


async def _ignore(message: Message) -> None:
    """The channel itself takes notice of leases."""
