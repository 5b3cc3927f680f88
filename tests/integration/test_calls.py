"""Whole calls: every service as a process of its own, real speech in, real speech out."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest

from services.gateway.app import APOLOGY, MOMENT
from shared import nats_bus
from shared.messages import CallEnded, SpeechStarted
from simulator.caller import Patience
from simulator.carrier import Gateway
from simulator.conversation import CallReport, Conversation, Line, Setup
from simulator.ear import similarity
from simulator.plan import CASCADE, Plan
from simulator.ring import Ring
from simulator.script import Writer
from tests.fakes import Heard, profile

BELLA, ECHO = "+15550100", "+15550199"


@asynccontextmanager
async def system(plan: Plan, dialled: str = BELLA) -> AsyncIterator[tuple[Ring, Setup]]:
    # The other tests share these cores: how long a lease or the greeting takes is not judged here.
    patient = replace(plan, env={**plan.env, "LEASE_TIMEOUT_S": "12"})
    async with Ring(patient) as ring, aiohttp.ClientSession() as http:
        bus = await nats_bus.connect(ring.nats_url, "test")
        yield ring, Setup(http, Gateway(ring.urls[0], ring.auth_token), dialled, bus, Patience(greeting_s=12))
        await bus.close()


async def hold_all(setup: Setup, scripts: Sequence[list[Line]]) -> list[CallReport]:
    return await asyncio.gather(*(Conversation(setup, script).hold() for script in scripts))


def orders(*numbers: int) -> list[list[Line]]:
    writer = Writer(profile())
    return [writer.order(number) for number in numbers]


def assert_all_right(reports: Sequence[CallReport]) -> None:
    assert [report.reasons for report in reports] == [[] for _ in reports]
    assert all(len(report.turns) == report.planned for report in reports)


async def test_a_conversation_is_held_and_each_turn_is_timed() -> None:
    async with system(Plan()) as (_, setup):
        [report] = await hold_all(setup, [Writer(profile()).scripted()])
    assert_all_right([report])
    timings = [turn.timing for turn in report.turns if turn.timing]
    assert [timing.turn_id for timing in timings] == [1, 2, 3, 4, 5]
    for timing in timings:
        parts = timing.model_dump(include={name for name in type(timing).model_fields if name.endswith("_ms")})
        total = parts.pop("total_ms")
        assert sum(parts.values()) == pytest.approx(total, abs=1)


# Without "six" and "eight", one of which the offline recogniser takes for the other now and then.
ORDERS = (1234, 5791, 9012, 4321, 7590)


async def test_concurrent_calls_each_get_their_own_answers() -> None:
    async with system(Plan({**CASCADE, "stt": 2})) as (_, setup):
        assert_all_right(await hold_all(setup, orders(*ORDERS)))


async def test_twenty_concurrent_calls_through_the_vendors_sdks() -> None:
    async with system(Plan(standins=())) as (ring, setup):
        scripts = orders(*range(1000, 9000, 400))
        texts = [line.said for script in scripts for line in script]
        await setup.http.post(f"{ring.standins_url}/standins/phrases", json={"texts": texts})
        assert_all_right(await hold_all(setup, scripts))


async def test_the_echo_pipeline_gives_the_callers_words_back() -> None:
    async with system(Plan({"gateway": 1, "stt": 1, "llm": 1, "tts": 1, "speech": 1}), ECHO) as (_, setup):
        assert_all_right(await hold_all(setup, [Writer(profile("echo")).said(["what are your opening hours"])]))


async def test_a_stage_that_does_not_come_back_ends_the_call_with_a_sentence() -> None:
    # Side by side: nearly all of it is waiting for people to finish their sentences.
    starting = asyncio.Lock()
    stages = (_kill_the_only(stage, starting) for stage in ("stt", "llm", "tts"))
    await asyncio.gather(*stages, _kill_the_vendors(starting))


async def _kill_the_only(stage: str, starting: asyncio.Lock) -> None:
    async with AsyncExitStack() as stack:
        async with starting:
            ring, setup = await stack.enter_async_context(system(Plan()))
        conversation = Conversation(setup, orders(1234)[0])
        assert setup.bus
        heard = await Heard.on(setup.bus, conversation.report.call_id)
        holding = asyncio.create_task(conversation.hold())
        await heard.wait_for(SpeechStarted, timeout_s=20)
        await ring.kill(stage)
        assert (await heard.wait_for(CallEnded, timeout_s=30)).reason == "stage_lost"
        report = await holding
        assert report.reasons
        for sentence in (MOMENT, APOLOGY):
            assert similarity(sentence.read_bytes(), report.recording[1]).score > 0.9
        assert {p.name for p in ring.processes if not p.running} == {stage}


async def _kill_the_vendors(starting: asyncio.Lock) -> None:
    async with AsyncExitStack() as stack:
        async with starting:
            ring, setup = await stack.enter_async_context(system(Plan(standins=())))
        conversation = Conversation(setup, Writer(profile()).scripted())
        assert setup.bus
        heard = await Heard.on(setup.bus, conversation.report.call_id)
        holding = asyncio.create_task(conversation.hold())
        await heard.wait_for(SpeechStarted, timeout_s=20)
        await ring.kill("standins")
        assert (await heard.wait_for(CallEnded, timeout_s=40)).reason in ("stage_failed", "stage_lost")
        report = await holding
        assert similarity(APOLOGY.read_bytes(), report.recording[1]).score > 0.9


async def test_a_full_system_says_so_and_serves_those_it_took() -> None:
    async with system(Plan(env={**Plan().env, "MAX_CALLS": "2"})) as (_, setup):
        reports = await hold_all(setup, orders(1234, 5678, 9012))
    served = [report for report in reports if not report.record.sentences]
    assert_all_right(served)
    assert len(served) == 2


async def test_every_process_stops_on_sigterm_with_status_0() -> None:
    async with system(Plan({**CASCADE, "speech": 1})) as (ring, _):
        services = [process for process in ring.processes if process.name != "nats"]
        for process in services:
            process.send(signal.SIGTERM)
        for process in services:
            await process.ended(15)
        assert {process.name: process.status for process in services} == dict.fromkeys([*CASCADE, "speech"], 0)
