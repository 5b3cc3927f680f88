"""The echo over a real broker: leased as a gateway leases it, and as a process of its own."""

import asyncio
import os
import signal
import sys
from uuid import uuid4

from services.speech.stage import SpeechStage
from shared import subjects
from shared.channel import CallChannel
from shared.messages import AudioOut, CallEnded
from shared.messages.lease import LeaseReply, LeaseRequest
from shared.nats_bus import NatsBus
from shared.settings import Settings
from shared.stage import StageWorker
from tests.fakes import profile

FRAMES = [bytes([seq % 256]) * 160 for seq in range(100)]


async def lease(bus: NatsBus, call_id: str, agent: str = "echo") -> LeaseReply:
    request = LeaseRequest(call_id=call_id, stage="speech", epoch=1, gateway="gw", profile=profile(agent))
    answer = await bus.request(subjects.lease("speech"), request.model_dump_json().encode(), 5)
    return LeaseReply.model_validate_json(answer)


async def echo_of(bus: NatsBus, gateway: CallChannel, frames: list[bytes]) -> list[AudioOut]:
    """What comes back for `frames`, a multiple of 100 ms."""
    echoes: asyncio.Queue[AudioOut] = asyncio.Queue()
    await gateway.on_audio_out("speech", echoes.put)
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


async def test_a_worker_process_echoes_and_stops_when_told(bus: NatsBus, nats_url: str) -> None:
    beating = asyncio.Event()
    environment = os.environ | {"NATS_URL": nats_url, "HOST": "127.0.0.1", "PORT": "0"}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.speech", env=environment)

    async def beat(subject: str, payload: bytes) -> None:
        if f"-{process.pid}-" in subject:
            beating.set()

    await bus.subscribe(subjects.heartbeat("speech", "*"), beat)
    try:
        await asyncio.wait_for(beating.wait(), 15)
        call_id = f"test-{uuid4().hex}"
        assert (await lease(bus, call_id)).state == "granted"
        gateway = CallChannel(bus, call_id, "gateway", 1)
        pieces = await echo_of(bus, gateway, FRAMES)
        assert b"".join(piece.payload for piece in pieces) == b"".join(FRAMES)
        await gateway.send(CallEnded(reason="caller_hung_up", duration_ms=1))
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
