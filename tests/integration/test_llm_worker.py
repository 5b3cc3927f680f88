"""llm worker processes on a real broker: leased, talked to, killed, drained."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest_asyncio

from services.llm.store import BUCKET, KEEP_S
from shared import subjects
from shared.agents import AgentProfile
from shared.channel import CallChannel
from shared.messages import (
    CallEnded,
    CallStarted,
    Playback,
    ReplyEnd,
    ReplyOnLine,
    ReplyText,
    SpeechFinal,
    SpeechStarted,
    SpeechStopped,
    StageTaken,
    TranscriptAgent,
    TurnCompleted,
    UsageCounted,
)
from shared.messages.lease import LeaseReply, LeaseRequest
from shared.messages.worker import Heartbeat
from shared.nats_bus import NatsBus
from shared.turn_taking import TurnProfile
from tests.fakes import Heard

ROOT = Path(__file__).parents[2]
PROFILE = AgentProfile(name="bella", greeting="Good day!", turns=TurnProfile(endpointing_ms=100))


class Workers:
    """`python -m services.llm`, as often as a test wants."""

    def __init__(self, nats_url: str, bus: NatsBus) -> None:
        self._environment = os.environ | {
            "NATS_URL": nats_url,
            "HOST": "127.0.0.1",
            "PORT": "0",
            "LLM_PROVIDER": "offline",
        }
        self._beats: asyncio.Queue[Heartbeat] = asyncio.Queue()
        self._bus = bus
        self._processes: list[asyncio.subprocess.Process] = []

    async def listen(self) -> None:
        async def beat(subject: str, payload: bytes) -> None:
            self._beats.put_nowait(Heartbeat.model_validate_json(payload))

        await self._bus.subscribe(subjects.heartbeat("llm", "*"), beat)

    async def start(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.llm", env=self._environment)
        self._processes.append(process)
        await self.until_beat(process, calls=0)
        return process

    async def until_beat(self, process: asyncio.subprocess.Process, calls: int) -> None:
        async with asyncio.timeout(20):
            beat = await self._beats.get()
            while f"-{process.pid}-" not in beat.worker or beat.calls != calls:
                beat = await self._beats.get()

    async def lease(self, call_id: str, epoch: int, line: int = 0) -> LeaseReply:
        request = LeaseRequest(call_id=call_id, stage="llm", epoch=epoch, gateway="gw", profile=PROFILE, line=line)
        answer = await self._bus.request(subjects.lease("llm"), request.model_dump_json().encode(), 5)
        return LeaseReply.model_validate_json(answer)

    async def end(self) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


@pytest_asyncio.fixture
async def workers(nats_url: str, bus: NatsBus) -> AsyncIterator[Workers]:
    made = Workers(nats_url, bus)
    await made.listen()
    yield made
    await made.end()


class Caller:
    """The gateway and the recogniser of one call, and what it heard of the dialogue."""

    def __init__(self, call_id: str, bus: NatsBus, heard: Heard) -> None:
        self.id = call_id
        self.heard = heard
        self._gateway = CallChannel(bus, call_id, "gateway", 1)
        self._stt = CallChannel(bus, call_id, "stt", 1)
        self._kept: asyncio.Queue[str] = asyncio.Queue()
        self._utterances = 0
        self._replies = 0

    @classmethod
    async def on(cls, bus: NatsBus) -> "Caller":
        call_id = f"sim-{uuid4().hex}"
        caller = cls(call_id, bus, await Heard.on(bus, call_id))

        async def kept(subject: str, payload: bytes) -> None:
            caller._kept.put_nowait(payload.decode())

        await bus.subscribe(f"$KV.{BUCKET}.{call_id}", kept)
        return caller

    async def until_kept(self, text: str) -> None:
        """The dialogue is in the bucket and holds `text`."""
        async with asyncio.timeout(5):
            while text not in await self._kept.get():
                pass

    async def begin(self) -> None:
        await self._gateway.send(CallStarted(gateway="gw", caller="+1", dialled="+2", agent="bella"))

    async def say(self, text: str) -> None:
        self._utterances += 1
        number = self._utterances
        await self._stt.send(SpeechStarted(utterance=number, t_ms=0))
        await self._stt.send(SpeechFinal(utterance=number, text=text, complete=True))
        await self._stt.send(SpeechStopped(utterance=number, t_ms=0, ended_at=time.time()))

    async def hears(self) -> tuple[str, ReplyEnd]:
        """The next reply, played to its end."""
        self._replies += 1
        end = await self.heard.wait_for(ReplyEnd, self._replies)
        pieces = [m for m in self.heard.messages if isinstance(m, ReplyText) and m.generation == end.generation]
        text = "".join(piece.text for piece in pieces)
        now = time.time()
        for moments in (
            {"state": "started", "asked_at": now, "synthesized_at": now, "received_at": now},
            {"state": "playing", "audible_at": now + 0.01},
            {"state": "finished"},
        ):
            report = {"generation": end.generation, "heard": text, "heard_ms": 900}
            await self._gateway.send(Playback.model_validate({**report, **moments}))
        await self.heard.wait_for(TranscriptAgent, self._replies)
        return text, end

    async def taken_over(self, epoch: int, reply: ReplyOnLine) -> None:
        """The gateway tells a worker that takes over how far the newest reply is."""
        taken = StageTaken(leased="llm", worker="w", lease_epoch=epoch, since=time.time(), reply=reply)
        await self._gateway.send(taken)

    async def hang_up(self) -> None:
        await self._gateway.send(CallEnded(reason="caller_hung_up", duration_ms=1))


async def test_a_worker_holds_a_conversation_and_stops_when_told(workers: Workers, bus: NatsBus) -> None:
    worker = await workers.start()
    caller = await Caller.on(bus)
    assert (await workers.lease(caller.id, 1)).state == "granted"
    await caller.begin()
    assert (await caller.hears())[0] == "Good day!"
    await caller.say("a table for four please")
    text, _ = await caller.hears()
    assert text == "A table for four, with pleasure. For which day and at what time?"
    turn = await caller.heard.wait_for(TurnCompleted)
    assert turn.endpointing_ms > 99.9
    assert 0 <= turn.stt_ms < 1000
    assert (await caller.heard.wait_for(UsageCounted)).provider == "offline"
    await caller.hang_up()
    await workers.until_beat(worker, calls=0)
    worker.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(worker.wait(), 20) == 0


async def test_another_worker_knows_what_was_said_when_the_first_was_killed(workers: Workers, bus: NatsBus) -> None:
    first = await workers.start()
    caller = await Caller.on(bus)
    assert (await workers.lease(caller.id, 1)).state == "granted"
    await caller.begin()
    await caller.hears()
    await caller.say("a table for four please")
    _, before = await caller.hears()
    await caller.until_kept("A table for four")
    first.kill()
    await first.wait()

    await workers.start()
    assert (await workers.lease(caller.id, 2, line=1)).state == "granted"
    await caller.taken_over(2, ReplyOnLine(generation=before.generation, complete=True, over=True))
    await caller.say("on friday at eight")
    text, after = await caller.hears()
    assert text == "Done. Your table for four is booked for friday at eight o'clock."
    assert after.generation > before.generation
    assert after.turn_id == before.turn_id + 1


async def test_a_reply_whose_worker_was_killed_in_it_goes_on_with_another(workers: Workers, bus: NatsBus) -> None:
    first = await workers.start()
    caller = await Caller.on(bus)
    assert (await workers.lease(caller.id, 1)).state == "granted"
    await caller.begin()
    await caller.hears()
    await caller.say("a table for four please")
    piece = await caller.heard.wait_for(ReplyText, 2)
    first.kill()
    await first.wait()

    second = await workers.start()
    assert (await workers.lease(caller.id, 2, line=1)).state == "granted"
    await caller.taken_over(2, ReplyOnLine(generation=piece.generation, started=True, received="A table for"))
    ends = 2
    while (await caller.heard.wait_for(ReplyEnd, ends)).epoch < 2:
        # The first worker may have sent all of it.
        ends += 1
    spoken: dict[tuple[int, int], str] = {}
    for text in [m for m in caller.heard.messages if isinstance(m, ReplyText) and m.turn_id == 1]:
        # As tts does: a number that it has seen is dropped.
        spoken.setdefault((text.generation, text.sequence), text.text)
    assert "".join(spoken.values()) == "A table for four, with pleasure. For which day and at what time?"
    assert {generation for generation, _ in spoken} == {piece.generation}
    await caller.hang_up()
    await workers.until_beat(second, calls=0)
    assert await (await bus.bucket(BUCKET, KEEP_S)).get(caller.id) is None


def test_help_says_what_the_worker_is_for() -> None:
    command = [sys.executable, "-m", "services.llm", "--help"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert run.returncode == 0
    assert "dialogue" in run.stdout


def test_a_worker_that_needs_no_vendor_does_not_import_its_sdk() -> None:
    build = "import services.llm.__main__ as m; s = m.Settings(); m.build(s, m.Breakers(s))"
    code = f"import sys; {build}; print('openai' in sys.modules)"
    environment = os.environ | {"LLM_PROVIDER": "offline"}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60, check=True)
    assert run.stdout.strip() == "False"
