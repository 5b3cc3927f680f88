"""A worker as a process of its own on a real broker."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared import subjects
from shared.agents import AgentProfile
from shared.messages.lease import LeaseReply, LeaseRequest
from shared.messages.worker import Heartbeat
from shared.nats_bus import NatsBus


class WorkerProcess:
    """`python -m services.<stage>`, and the heartbeats that tell its state."""

    def __init__(self, stage: str, process: asyncio.subprocess.Process, bus: NatsBus) -> None:
        self._stage = stage
        self._process = process
        self._bus = bus
        self._beats: asyncio.Queue[Heartbeat] = asyncio.Queue()

    async def beat(self, subject: str, payload: bytes) -> None:
        beat = Heartbeat.model_validate_json(payload)
        if f"-{self._process.pid}-" in beat.worker:
            self._beats.put_nowait(beat)

    async def until_beat(self, calls: int) -> Heartbeat:
        """The first heartbeat that tells of so many calls."""
        async with asyncio.timeout(15):
            while (beat := await self._beats.get()).calls != calls:
                pass
            return beat

    async def lease(self, call_id: str, profile: AgentProfile | None = None) -> LeaseReply:
        """Ask for the worker as a gateway does."""
        agent = profile or AgentProfile(name="test")
        request = LeaseRequest(call_id=call_id, stage=self._stage, epoch=1, gateway="gw", profile=agent)
        answer = await self._bus.request(subjects.lease(self._stage), request.model_dump_json().encode(), 5)
        return LeaseReply.model_validate_json(answer)

    async def stop(self) -> int:
        """SIGTERM; its exit status."""
        self._process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self._process.wait(), 10)


@asynccontextmanager
async def running(stage: str, nats_url: str, bus: NatsBus) -> AsyncIterator[WorkerProcess]:
    """A worker of `stage` with the offline provider, ready; killed at the end if it still runs."""
    offline = {f"{name}_PROVIDER": "offline" for name in ("STT", "LLM", "TTS")}
    keys = dict.fromkeys(("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "ELEVENLABS_API_KEY"), "")
    environment = os.environ | offline | keys | {"NATS_URL": nats_url, "HOST": "127.0.0.1", "PORT": "0"}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", f"services.{stage}", env=environment)
    worker = WorkerProcess(stage, process, bus)
    await bus.subscribe(subjects.heartbeat(stage, "*"), worker.beat)
    try:
        await worker.until_beat(calls=0)
        yield worker
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
