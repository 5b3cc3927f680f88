"""A tts worker process on a real broker: leased, heard, drained."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest_asyncio

from shared.channel import CallChannel
from shared.messages import AudioOut, CallEnded, Control, ReplyEnd, ReplyText, UsageCounted
from shared.nats_bus import NatsBus
from tests.fakes import Heard
from tests.integration.worker_process import WorkerProcess, running

REPLY = ["Bella Trattoria, ", "good day! ", "How can I help you?"]


@pytest_asyncio.fixture
async def worker(nats_url: str, bus: NatsBus) -> AsyncIterator[WorkerProcess]:
    async with running("tts", nats_url, bus) as process:
        yield process


class Caller:
    """The gateway and the dialogue of one call."""

    def __init__(self, bus: NatsBus, call_id: str) -> None:
        self.gateway = CallChannel(bus, call_id, "gateway", 1)
        self.dialogue = CallChannel(bus, call_id, "llm", 1)
        self.pieces: asyncio.Queue[AudioOut] = asyncio.Queue()

    async def listen(self) -> None:
        await self.gateway.on_audio_out("tts", self.pieces.put_nowait)
        await self.gateway.flush()

    async def say(self, generation: int, *texts: str) -> None:
        for sequence, text in enumerate(texts):
            await self.dialogue.send(ReplyText(generation=generation, turn_id=1, sequence=sequence, text=text))
        await self.dialogue.send(ReplyEnd(generation=generation, turn_id=1, pieces=len(texts)))

    async def hear(self) -> list[AudioOut]:
        async with asyncio.timeout(10):
            heard = [await self.pieces.get()]
            while not heard[-1].last:
                heard.append(await self.pieces.get())
            return heard


async def test_a_worker_process_speaks_its_calls_and_stops_when_told(worker: WorkerProcess, bus: NatsBus) -> None:
    call_id = f"test-{uuid4().hex}"
    heard = await Heard.on(bus, call_id)
    caller = Caller(bus, call_id)
    await caller.listen()
    assert (await worker.lease(call_id)).state == "granted"
    await caller.say(1, *REPLY)
    pieces = await caller.hear()
    assert "".join(piece.text for piece in pieces) == "".join(REPLY)
    ends = [piece.offset_ms + len(piece.payload) // 8 for piece in pieces]
    assert all(abs(piece.offset_ms - end) <= 1 for piece, end in zip(pieces[1:], ends, strict=False))
    assert 2000 < ends[-1] < 5000

    await caller.dialogue.send(Control(action="clear", generation=2))
    await caller.say(3, "New.")
    assert {piece.generation for piece in await caller.hear()} == {3}

    await caller.gateway.send(CallEnded(reason="caller_hung_up", duration_ms=1))
    await worker.until_beat(calls=0)
    usage = await heard.wait_for(UsageCounted)
    assert (usage.provider, usage.amounts) == ("offline", {"characters": len("".join(REPLY)) + len("New.")})
    assert await worker.stop() == 0
