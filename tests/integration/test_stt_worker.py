"""An stt worker process on a real broker: leased, spoken to, drained."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest_asyncio

from shared import subjects
from shared.agents import AgentProfile, SttProfile
from shared.audio import FRAME_BYTES, FRAME_MS, SILENCE, bytes_of
from shared.channel import CallChannel
from shared.espeak import speak, trim
from shared.messages import CallEnded, SpeechFinal, SpeechPartial, SpeechStarted, SpeechStopped, UsageCounted
from shared.messages.lease import LeaseReply, LeaseRequest
from shared.messages.worker import Heartbeat
from shared.nats_bus import NatsBus
from tests.fakes import Heard

SPEECH = trim(speak("what are your opening hours").mulaw, keep_ms=0)


class WorkerProcess:
    """`python -m services.stt`, and the heartbeats that tell its state."""

    def __init__(self, process: asyncio.subprocess.Process, bus: NatsBus) -> None:
        self.process = process
        self.bus = bus
        self.beats: asyncio.Queue[Heartbeat] = asyncio.Queue()

    async def beat(self, subject: str, payload: bytes) -> None:
        beat = Heartbeat.model_validate_json(payload)
        if f"-{self.process.pid}-" in beat.worker:
            self.beats.put_nowait(beat)

    async def until_beat(self, calls: int) -> Heartbeat:
        async with asyncio.timeout(15):
            while (beat := await self.beats.get()).calls != calls:
                pass
            return beat

    async def lease(self, call_id: str, profile: AgentProfile) -> LeaseReply:
        request = LeaseRequest(call_id=call_id, stage="stt", epoch=1, gateway="gw", profile=profile)
        answer = await self.bus.request(subjects.lease("stt"), request.model_dump_json().encode(), 5)
        return LeaseReply.model_validate_json(answer)

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 10)


@pytest_asyncio.fixture
async def worker(nats_url: str, bus: NatsBus) -> AsyncIterator[WorkerProcess]:
    environment = os.environ | {
        "NATS_URL": nats_url,
        "HOST": "127.0.0.1",
        "PORT": "0",
        "STT_PROVIDER": "offline",
        "DEEPGRAM_API_KEY": "",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.stt", env=environment)
    made = WorkerProcess(process, bus)
    await bus.subscribe(subjects.heartbeat("stt", "*"), made.beat)
    await made.until_beat(calls=0)
    yield made
    if process.returncode is None:
        process.kill()
        await process.wait()


async def say(line: CallChannel, mulaw: bytes) -> None:
    for seq, start in enumerate(range(0, len(mulaw), FRAME_BYTES)):
        await line.send_audio_in(seq, seq * FRAME_MS, mulaw[start : start + FRAME_BYTES])


async def test_a_worker_process_hears_its_calls_and_stops_when_told(worker: WorkerProcess, bus: NatsBus) -> None:
    call_id = f"test-{uuid4().hex}"
    heard = await Heard.on(bus, call_id)
    line = CallChannel(bus, call_id, "gateway", 1)
    assert (await worker.lease(call_id, AgentProfile(name="test"))).state == "granted"
    lead = SILENCE * bytes_of(500)
    await say(line, lead + SPEECH + lead)

    final = await heard.wait_for(SpeechFinal)
    assert (final.utterance, final.text, final.complete) == (1, "what are your opening hours", True)
    started, stopped = await heard.wait_for(SpeechStarted), await heard.wait_for(SpeechStopped)
    assert abs(started.t_ms - 500) <= 80
    assert abs(stopped.t_ms - (500 + len(SPEECH) // 8)) <= 80
    order = [type(message) for message in heard.messages]
    assert order[0] is SpeechStarted
    assert order[-1] is SpeechFinal
    assert SpeechPartial in order

    await line.send(CallEnded(reason="caller_hung_up", duration_ms=1))
    await worker.until_beat(calls=0)
    usage = await heard.wait_for(UsageCounted)
    assert (usage.provider, usage.model) == ("offline", "pocketsphinx")
    frames = -(-(2 * len(lead) + len(SPEECH)) // FRAME_BYTES)
    assert usage.amounts["audio_s"] > frames * FRAME_MS / 1000 - 0.04
    assert await worker.stop() == 0


async def test_a_worker_without_the_key_says_what_to_set(worker: WorkerProcess) -> None:
    profile = AgentProfile(name="test", stt=SttProfile(provider="deepgram"))
    reply = await worker.lease(f"test-{uuid4().hex}", profile)
    assert reply.state == "refused"
    assert "DEEPGRAM_API_KEY" in reply.reason
    assert await worker.stop() == 0


def test_the_command_line_explains_itself() -> None:
    shown = subprocess.run([sys.executable, "-m", "services.stt", "--help"], capture_output=True, text=True, timeout=30)
    assert shown.returncode == 0
    assert "Speech to text" in shown.stdout
