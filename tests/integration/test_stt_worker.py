"""An stt worker process on a real broker: leased, spoken to, drained."""

import subprocess
import sys
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest_asyncio

from shared.agents import AgentProfile, SttProfile
from shared.audio import FRAME_BYTES, FRAME_MS, SILENCE, bytes_of
from shared.channel import CallChannel
from shared.espeak import speak, trim
from shared.messages import (
    CallEnded,
    SpeechFinal,
    SpeechPartial,
    SpeechStarted,
    SpeechStopped,
    SpeechSustained,
    UsageCounted,
)
from shared.nats_bus import NatsBus
from tests.fakes import Heard
from tests.integration.worker_process import WorkerProcess, running

SPEECH = trim(speak("what are your opening hours").mulaw, keep_ms=0)


@pytest_asyncio.fixture
async def worker(nats_url: str, bus: NatsBus) -> AsyncIterator[WorkerProcess]:
    async with running("stt", nats_url, bus) as process:
        yield process


async def say(line: CallChannel, mulaw: bytes) -> None:
    for seq, start in enumerate(range(0, len(mulaw), FRAME_BYTES)):
        await line.send_audio_in(seq, seq * FRAME_MS, mulaw[start : start + FRAME_BYTES])


async def test_a_worker_process_hears_its_calls_and_stops_when_told(worker: WorkerProcess, bus: NatsBus) -> None:
    call_id = f"test-{uuid4().hex}"
    heard = await Heard.on(bus, call_id)
    line = CallChannel(bus, call_id, "gateway", 1)
    assert (await worker.lease(call_id)).state == "granted"
    lead = SILENCE * bytes_of(500)
    await say(line, lead + SPEECH + lead)

    final = await heard.wait_for(SpeechFinal)
    assert (final.utterance, final.text, final.complete) == (1, "what are your opening hours", True)
    started, stopped = await heard.wait_for(SpeechStarted), await heard.wait_for(SpeechStopped)
    assert abs(started.t_ms - 500) <= 80
    assert abs(stopped.t_ms - (500 + len(SPEECH) // 8)) <= 80
    sustained = await heard.wait_for(SpeechSustained)
    assert started.t_ms + 250 <= sustained.t_ms < stopped.t_ms
    assert 0 < started.began_at <= sustained.reached_at <= stopped.ended_at <= final.at
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
