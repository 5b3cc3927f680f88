"""What becomes of a reply when the model fails, says too much, or is counted."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from services.llm.answer import APOLOGY
from services.llm.provider import ProviderFailed, Usage
from shared.agents import LlmProfile
from shared.messages import ErrorHappened, UsageCounted
from tests.llm_model import ScriptedModel
from tests.llm_phone import PROFILE, Exchange, exchange_open, texts


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[Exchange]:
    async with exchange_open() as opened:
        yield opened


async def test_a_model_that_fails_once_is_asked_again(exchange: Exchange) -> None:
    model = ScriptedModel(["We ", ProviderFailed("lost")], ["We are open."])
    phone = await exchange.dial(model)
    await phone.say("hello")
    end, pieces = await phone.reply()
    assert (texts(pieces), end.pieces) == (["We are open."], 1)
    assert model.asked[0] == model.asked[1]
    await exchange.bus.settle()
    assert exchange.sent("event.error") == 0


async def test_a_model_that_fails_twice_costs_an_apology_and_not_the_call(exchange: Exchange) -> None:
    model = ScriptedModel([ProviderFailed("no quota")], [ProviderFailed("no quota")], ["Better now."])
    phone = await exchange.dial(model)
    await phone.say("hello")
    end, pieces = await phone.reply()
    assert texts(pieces) == [APOLOGY]
    error = await phone.next(ErrorHappened)
    assert (error.error, error.fatal) == ("scripted: no quota", False)
    await phone.heard(end.generation, APOLOGY)
    await phone.say("hello again")
    _, pieces = await phone.reply()
    assert texts(pieces) == ["Better now."]
    assert not phone.failed


async def test_a_model_that_says_nothing_has_failed(exchange: Exchange) -> None:
    phone = await exchange.dial(ScriptedModel([], [" ", "\n"]))
    await phone.say("hello")
    _, pieces = await phone.reply()
    assert texts(pieces) == [APOLOGY]


async def test_a_model_that_fails_in_mid_reply_is_not_asked_again(exchange: Exchange) -> None:
    model = ScriptedModel(["We are open from noon until eleven. But on", ProviderFailed("lost")])
    phone = await exchange.dial(model)
    await phone.say("hello")
    end, pieces = await phone.reply()
    assert texts(pieces) == ["We are open from noon until eleven. ", APOLOGY]
    assert end.pieces == 2
    assert len(model.asked) == 1


async def test_a_defect_in_the_model_ends_the_stage_and_not_in_silence(exchange: Exchange) -> None:
    phone = await exchange.dial(ScriptedModel([RuntimeError("a bug")]))
    await phone.say("hello")
    assert (await phone.next(ErrorHappened)).fatal


async def test_a_reply_that_is_too_long_ends_and_the_model_is_stopped(exchange: Exchange) -> None:
    model = ScriptedModel(["We are open from noon. ", "And then ", "there is more to say. ", "Much more."])
    profile = PROFILE.model_copy(update={"llm": LlmProfile(max_reply_chars=40)})
    phone = await exchange.dial(model, profile)
    await phone.say("hello")
    end, pieces = await phone.reply()
    assert texts(pieces) == ["We are open from noon. "]
    assert end.pieces == 1
    await asyncio.wait_for(model.cut_off.wait(), 5)
    assert "Much more." not in model.said


async def test_usage_is_counted_for_the_provider(exchange: Exchange) -> None:
    phone = await exchange.dial(ScriptedModel(["Yes?", Usage("model-1", 12, 3)]))
    await phone.say("hello")
    usage = await phone.next(UsageCounted)
    assert (usage.provider, usage.model) == ("scripted", "model-1")
    assert usage.amounts == {"input_tokens": 12, "output_tokens": 3}
