"""A vendor that fails behind its SDK, before and in the middle of a reply, with and without another to go on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from services.llm.models import Models
from services.llm.provider import ChatMessage, ChatModel, EndCall, ProviderFailed, ReplyItem, TextDelta, Usage
from shared import nats_bus
from shared.agents import AgentProfile, LlmChoice, LlmProfile
from shared.breakers import BUCKET, Breakers
from shared.nats_bus import NatsBus
from shared.stage import CannotServe
from simulator.standins.behaviour import Fault
from simulator.standins.openai import STREAMS
from tests.llm_vendor import Vendor, serving, settings_for, vendor_open

HELLO = [ChatMessage(role="system", content="You are Bella."), ChatMessage(role="user", content="goodbye")]
ANSWER = "Thank you for calling Bella. Goodbye!"
ALONE = AgentProfile(name="bella", llm=LlmProfile(provider="openai"))
BACKED = AgentProfile(name="bella", llm=LlmProfile(provider="openai", fallbacks=(LlmChoice(provider="offline"),)))
QUICK: dict[str, Any] = {"provider_answer_s": 0.25, "provider_connect_s": 0.25}
FAULTS: tuple[Fault, ...] = ("hang", "429", "500", "drop", "garbage")


@asynccontextmanager
async def opened(vendor: Vendor, profile: AgentProfile, breakers: Breakers | None = None) -> AsyncIterator[ChatModel]:
    models = Models(settings_for(vendor.url, **QUICK), breakers)
    try:
        yield (await models.open(profile))[1]
    finally:
        await models.close()


async def items(model: ChatModel) -> list[ReplyItem]:
    async with asyncio.timeout(5), aclosing(model.reply(HELLO)) as stream:
        return [item async for item in stream]


def words(told: list[ReplyItem]) -> str:
    return "".join(item.text for item in told if isinstance(item, TextDelta))


@pytest.mark.parametrize("tokens", [0, 2])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fallback_says_what_the_vendor_could_not(fault: Fault, tokens: int) -> None:
    async with vendor_open() as vendor, opened(vendor, BACKED) as model:
        vendor.behaviour.llm_fault_tokens = tokens
        vendor.behaviour.llm_fault = fault
        told = await items(model)
        assert words(told) == ANSWER
        assert [item for item in told if isinstance(item, EndCall)] == [EndCall()]
        assert isinstance(told[-1], Usage)
        assert (told[-1].provider, told[-1].model) == ("offline", "bella")
        vendor.behaviour.llm_fault = ""
        await vendor.seen_to_the_end()
        assert vendor.app[STREAMS].finished == 0


@pytest.mark.parametrize("tokens", [0, 2])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_vendor_that_recovers_is_asked_again(fault: Fault, tokens: int) -> None:
    async with vendor_open() as vendor, opened(vendor, ALONE) as model:
        vendor.behaviour.llm_fault_tokens = tokens
        vendor.behaviour.llm_fault = fault
        vendor.heal_at(vendor.requests + 2)
        told = await items(model)
        assert words(told) == ANSWER
        assert [item for item in told if isinstance(item, EndCall)] == [EndCall()]
        assert isinstance(told[-1], Usage)
        assert told[-1].provider == "openai"


@pytest.mark.parametrize("tokens", [0, 2])
@pytest.mark.parametrize("fault", FAULTS)
async def test_without_another_the_failure_is_told_after_two_tries(fault: Fault, tokens: int) -> None:
    async with vendor_open() as vendor, opened(vendor, ALONE) as model:
        vendor.behaviour.llm_fault_tokens = tokens
        vendor.behaviour.llm_fault = fault
        told: list[ReplyItem] = []
        before = vendor.requests
        with capture_logs() as logs, pytest.raises(ProviderFailed):
            async with asyncio.timeout(5), aclosing(model.reply(HELLO)) as stream:
                async for item in stream:
                    told.append(item)
        assert words(told) == ("Thank you" if tokens else "")
        assert vendor.requests == before + 2
        assert len([entry for entry in logs if entry["event"] == "provider_failed"]) == 2


async def test_a_vendor_that_wants_a_long_pause_is_not_asked_again() -> None:
    requests = 0

    async def busy(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        return web.json_response({"error": {"message": "no"}}, status=429, headers={"Retry-After": "20"})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", busy)
    async with serving(app) as url:
        models = Models(settings_for(url))
        _, model = await models.open(ALONE)
        with pytest.raises(ProviderFailed, match="429"):
            await items(model)
        await models.close()
    assert requests == 1


async def test_the_stream_of_a_reply_that_fails_in_its_middle_counts_as_failed() -> None:
    async with vendor_open() as vendor, opened(vendor, BACKED) as model:
        vendor.behaviour.llm_token_ms = 20
        stream = model.reply(HELLO)
        told = [await anext(stream)]
        vendor.behaviour.llm_fault = "drop"
        told += [item async for item in stream]
        assert words(told) == ANSWER
        # The stand-in counts it behind the broken connection.
        async with asyncio.timeout(5):
            while not vendor.app[STREAMS].failed:
                await asyncio.sleep(0)


async def test_a_refused_choice_falls_through_and_the_last_names_each_reason() -> None:
    nowhere = BACKED.model_copy(update={"scenario": "nowhere"})
    async with vendor_open() as vendor:
        vendor.behaviour.api_key = "another"
        models = Models(settings_for(vendor.url, **QUICK))
        name, model = await models.open(BACKED)
        assert name == "offline"
        assert words(await items(model)) == ANSWER
        assert vendor.requests == 1, "to check the key"
        with pytest.raises(CannotServe, match=r"OPENAI_API_KEY.*; .*`scenario`"):
            await models.open(nowhere)
        await models.close()


async def test_a_vendor_that_hangs_when_the_call_comes_is_not_asked_first() -> None:
    async with vendor_open() as vendor:
        vendor.behaviour.llm_fault = "hang"
        async with opened(vendor, BACKED) as model:
            requests = vendor.requests
            assert words(await items(model)) == ANSWER
            assert vendor.requests == requests
            vendor.behaviour.llm_fault = ""


async def test_a_vendor_whose_breaker_is_open_is_not_asked_at_all() -> None:
    async with vendor_open() as vendor:
        settings = settings_for(vendor.url, **QUICK)
        breakers = Breakers(settings)
        models = Models(settings, breakers)
        for _ in range(3):
            await breakers.failed("llm.openai", "timeout")
        name, model = await models.open(BACKED)
        assert name == "offline"
        assert words(await items(model)) == ANSWER
        with pytest.raises(CannotServe, match="'openai' has failed and rests"):
            await models.open(ALONE)
        assert vendor.requests == 0
        await models.close()


async def test_a_worker_learns_from_another_that_the_vendor_fails_and_that_it_is_back(
    bus: NatsBus, nats_url: str
) -> None:
    await (await bus.bucket(BUCKET, 60)).delete("llm.openai")
    other = await nats_bus.connect(nats_url, "test-2")
    async with vendor_open() as vendor:
        settings = settings_for(vendor.url, **QUICK, breaker_open_s=0.6)
        one, two = Breakers(settings), Breakers(settings)
        await one.open(bus)
        await two.open(other)
        async with opened(vendor, ALONE, one) as failing, opened(vendor, BACKED, two) as warned:
            vendor.behaviour.llm_fault = "500"
            for _ in range(2):
                with pytest.raises(ProviderFailed):
                    await items(failing)
            async with asyncio.timeout(1):
                while not two.rests("llm.openai"):
                    await asyncio.sleep(0.005)
            requests = vendor.requests
            assert (await items(warned))[-1] == Usage("bella", 4, 6, "offline")
            assert vendor.requests == requests
            vendor.behaviour.llm_fault = ""
            async with asyncio.timeout(2):
                while two.rests("llm.openai"):
                    await asyncio.sleep(0.005)
            for _ in range(2):
                assert words(await items(warned)) == ANSWER
            assert vendor.requests == requests + 2
            async with asyncio.timeout(1):
                while one.states()["llm.openai"] != "closed":
                    await asyncio.sleep(0.005)
        await one.close()
        await two.close()
    await other.close()
