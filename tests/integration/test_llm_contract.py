"""The contract of a language model, passed by every provider: the vendor's SDK against a true stand-in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
import pytest_asyncio
from pydantic import SecretStr

from services.llm.models import Models
from services.llm.provider import ChatMessage, ChatModel, EndCall, ReplyItem, TextDelta, Usage
from shared import scenario
from shared.agents import AgentProfile, LlmProfile
from shared.settings import Settings
from shared.stage import CannotServe
from simulator.standins.openai import STREAMS
from tests.llm_vendor import Vendor, settings_for, vendor_open

SCENARIO = scenario.load("bella")
SAID = ("a table for four please", "on friday at eight o'clock")
ANSWER = "Done. Your table for four is booked for friday at eight o'clock."


def conversation(*said: str) -> list[ChatMessage]:
    """The system prompt, the caller's turns, and the answers to all but the last."""
    messages = [ChatMessage(role="system", content="You are Bella.")]
    for number, text in enumerate(said, 1):
        messages.append(ChatMessage(role="user", content=text))
        messages.append(ChatMessage(role="assistant", content=SCENARIO.respond(said[:number])))
    return messages[:-1]


@pytest_asyncio.fixture
async def vendor() -> AsyncIterator[Vendor]:
    async with vendor_open() as opened:
        yield opened


@pytest_asyncio.fixture(params=["offline", "openai"])
async def model(request: pytest.FixtureRequest, vendor: Vendor) -> AsyncIterator[ChatModel]:
    models = Models(settings_for(vendor.url))
    profile = LlmProfile(provider=request.param, reasoning_effort="none")
    name, opened = await models.open(AgentProfile(name="bella", llm=profile))
    assert name == request.param
    yield opened
    await opened.close()
    await models.close()


async def items(model: ChatModel, *said: str) -> list[ReplyItem]:
    async with aclosing(model.reply(conversation(*said))) as stream:
        return [item async for item in stream]


async def answer(model: ChatModel, *said: str) -> str:
    return "".join(item.text for item in await items(model, *said) if isinstance(item, TextDelta))


async def test_the_reply_is_the_scenarios_answer_to_the_whole_conversation(model: ChatModel) -> None:
    assert SCENARIO.respond(SAID) == ANSWER
    assert await answer(model, *SAID) == ANSWER


async def test_the_reply_comes_in_bits_and_the_usage_once_and_last(model: ChatModel) -> None:
    *deltas, usage = await items(model, *SAID)
    assert [type(item) for item in deltas] == [TextDelta] * len(deltas)
    assert len(deltas) > 5
    assert isinstance(usage, Usage)
    assert usage.model == model.name
    assert usage.input_tokens >= sum(len(message.content.split()) for message in conversation(*SAID))
    assert usage.output_tokens == len(ANSWER.split())


async def test_the_model_ends_the_call_once_after_its_words(model: ChatModel) -> None:
    *deltas, end, usage = await items(model, "thank you goodbye")
    assert (
        "".join(item.text for item in deltas if isinstance(item, TextDelta)) == "Thank you for calling Bella. Goodbye!"
    )
    assert end == EndCall()
    assert isinstance(usage, Usage)
    assert not any(isinstance(item, EndCall) for item in await items(model, *SAID))


async def test_pressed_keys_are_answered_as_if_they_were_said(model: ChatModel) -> None:
    spoken = await answer(model, "where is my order four seven one one")
    assert spoken.startswith("Order four seven one one ")
    assert await answer(model, "keys 4 7 1 1") == spoken


async def test_one_call_asks_again_and_again(model: ChatModel) -> None:
    assert await answer(model, SAID[0]) == SCENARIO.respond(SAID[:1])
    assert await answer(model, *SAID) == ANSWER


async def test_calls_do_not_wait_for_each_other(model: ChatModel, vendor: Vendor) -> None:
    async with aclosing(model.reply(conversation(*SAID))) as first:
        assert isinstance(await anext(first), TextDelta)
        assert await asyncio.wait_for(answer(model, *SAID), 5) == ANSWER


async def test_closing_the_iterator_early_stops_it(model: ChatModel, vendor: Vendor) -> None:
    vendor.behaviour.llm_token_ms = 10_000
    stream = model.reply(conversation(*SAID))
    assert isinstance(await anext(stream), TextDelta)
    await asyncio.wait_for(stream.aclose(), 1)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    await vendor.seen_to_the_end()
    assert vendor.app[STREAMS].finished == 0


async def test_cancelling_the_task_that_reads_stops_it_too(model: ChatModel, vendor: Vendor) -> None:
    vendor.behaviour.llm_token_ms = 10_000
    begun = asyncio.Event()

    async def read() -> None:
        async with aclosing(model.reply(conversation(*SAID))) as stream:
            async for _ in stream:
                begun.set()
                await asyncio.sleep(0)

    task = asyncio.create_task(read())
    await asyncio.wait_for(begun.wait(), 5)
    task.cancel()
    await asyncio.wait((task,), timeout=1)
    await vendor.seen_to_the_end()
    assert vendor.app[STREAMS].finished == 0


async def test_the_vendor_sees_that_nobody_listens_any_more(vendor: Vendor) -> None:
    models = Models(settings_for(vendor.url))
    _, model = await models.open(AgentProfile(name="bella", llm=LlmProfile(provider="openai")))
    vendor.behaviour.llm_token_ms = 10_000
    async with aclosing(model.reply(conversation(*SAID))) as stream:
        await anext(stream)
    await vendor.seen_to_the_end()
    assert (vendor.app[STREAMS].cut_off, vendor.app[STREAMS].finished) == (1, 0)
    await models.close()


async def test_the_settings_choose_when_the_profile_does_not(vendor: Vendor) -> None:
    models = Models(settings_for(vendor.url))
    assert (await models.open(AgentProfile(name="bella")))[0] == "openai"
    await models.close()
    models = Models(Settings(openai_api_key=SecretStr(""), llm_provider=None))
    assert (await models.open(AgentProfile(name="bella")))[0] == "offline"


async def test_what_is_missing_is_said_before_the_call_begins() -> None:
    models = Models(Settings(openai_api_key=SecretStr(""), llm_provider=None))
    with pytest.raises(CannotServe, match="OPENAI_API_KEY"):
        await models.open(AgentProfile(name="bella", llm=LlmProfile(provider="openai")))
    with pytest.raises(CannotServe, match=r"`scenario`.*nowhere\.yaml"):
        await models.open(AgentProfile(name="bella", scenario="nowhere", llm=LlmProfile(provider="offline")))
