"""A script played against a gateway of the test's own: what passes, what fails, and what is told."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest_asyncio

from shared.channel import CallChannel
from shared.messages import CallEnded, Message, TurnsChanged
from shared.nats_bus import NatsBus
from simulator.caller import Patience, Voice
from simulator.carrier import Gateway
from simulator.conversation import Setup
from simulator.rehearsal.performance import Performance, PerformanceReport
from simulator.rehearsal.screenplay import Screenplay
from tests.fakes import profile
from tests.integration.fake_gateway import TOKEN, FakeGateway, Stream
from tests.simulator_reply import pieces, transcript

GREETING = "Bella, good day!"
SETTINGS = {"endpointing_ms": 900}


class System:
    """Greets every caller, and hangs up when a key is pressed."""

    def __init__(self, bus: NatsBus) -> None:
        self.bus = bus
        self.gateway = FakeGateway()
        self.gateway.script = self._script
        self.told = transcript(GREETING)
        self.more: list[Message] = []
        self.changes: list[TurnsChanged] = []

    async def start(self) -> None:
        async def changed(subject: str, payload: bytes) -> None:
            self.changes.append(TurnsChanged.model_validate_json(payload))

        await self.bus.subscribe("call.*.turns", changed)
        await self.bus.flush()
        await self.gateway.start()

    async def _script(self, stream: Stream) -> None:
        call_id = str(stream.messages[1]["start"]["callSid"])
        tts, llm, gateway = (CallChannel(self.bus, call_id, stage, 1) for stage in ("tts", "llm", "gateway"))
        for piece in pieces(GREETING):
            await tts.send_audio_out(1, piece.offset_ms, piece.payload, piece.text, last=piece.last)
            await stream.play(piece.payload)
        await stream.send("mark", mark={"name": "end"})
        await stream.until(lambda: bool(stream.of("mark")) or stream.closed)
        for message in (self.told, *self.more):
            await llm.send(message)
        await stream.until(lambda: bool(stream.of("dtmf")) or stream.closed)
        if stream.of("dtmf"):
            self.gateway.documents.append("<Response><Hangup/></Response>")
            await gateway.send(CallEnded(reason="agent_hung_up", duration_ms=1))
            await stream.socket.close()

    async def play(self, *steps: Any, **head: Any) -> PerformanceReport:
        play = Screenplay.model_validate({"title": "t", "steps": steps, **head})
        async with aiohttp.ClientSession() as http:
            patience = Patience(greeting_s=3, quiet_s=0.2)
            setup = Setup(http, Gateway(self.gateway.url, TOKEN), "+15550100", self.bus, patience)
            return await Performance(setup, self.bus, play, profile(), Voice()).run()


@pytest_asyncio.fixture
async def system(bus: NatsBus) -> AsyncIterator[System]:
    made = System(bus)
    await made.start()
    yield made
    await made.gateway.stop()


GREETED = {"expect": {"heard": GREETING, "interrupted": False, "wait_s": 5}}


async def test_a_script_that_comes_true_passes(system: System) -> None:
    ended = {"expect": {"ended": "agent_hung_up", "wait_s": 5}}
    report = await system.play("hear_greeting", GREETED, {"press": "1"}, ended, turns=SETTINGS)
    assert report.reasons == []
    assert report.passed
    assert [step.text for step in report.steps][::2] == ["hear_greeting", "press 1"]
    assert [message.text for message in report.messages if hasattr(message, "text")] == [GREETING]
    assert [change.turns for change in system.changes] == [SETTINGS]


async def test_a_script_ends_at_the_first_step_that_fails(system: System) -> None:
    wrong = {"expect": {"heard": "Good night!", "wait_s": 5}}
    report = await system.play("hear_greeting", wrong, "cough")
    assert not report.passed
    assert [bool(step.reasons) for step in report.steps] == [False, True]
    assert report.reasons == [
        f"step 2 (expect heard: Good night!, wait_s: 5.0): {GREETING!r} was heard, not 'Good night!'"
    ]


async def test_words_that_were_never_played_fail(system: System) -> None:
    system.told = transcript("Bella, good", interrupted=True)
    report = await system.play("hear_greeting", {"expect": {"heard": {"starts": "Bella"}, "wait_s": 5}})
    assert any("the carrier went on with it" in reason for reason in report.reasons)


async def test_a_second_reply_that_nobody_expected_fails(system: System) -> None:
    system.more = [transcript("And another thing.", generation=2)]
    report = await system.play("hear_greeting", GREETED, {"silence": {"s": 0.1}})
    assert report.reasons == ["step 3 (silence s: 0.1): the agent said 'And another thing.' too"]


async def test_what_nobody_asks_about_is_not_judged(system: System) -> None:
    system.more = [transcript("And another thing.", generation=2)]
    silent = {"expect": {"silent": True}}
    assert (await system.play("hear_greeting", {"silence": {"s": 0.1}}, silent, "hang_up")).passed


async def test_an_action_after_the_end_of_the_call_fails(system: System) -> None:
    report = await system.play("hear_greeting", {"press": "1"}, {"silence": {"s": 5}}, "cough")
    assert report.reasons == ["step 4 (cough): the call is over: the agent hung up"]


async def test_a_call_that_does_not_come_about_fails(system: System) -> None:
    system.gateway.documents.append("<Response><Reject/></Response>")
    report = await system.play("hear_greeting")
    assert not report.passed
    assert report.reasons == ["the call did not come about: the call was rejected: rejected"]
