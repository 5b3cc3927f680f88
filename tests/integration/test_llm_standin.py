"""OpenAI's stand-in on the wire, as the vendor's reference describes it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio
from aiohttp import ClientSession

from simulator.standins.behaviour import Fault
from simulator.standins.openai import STREAMS
from tests.llm_vendor import Vendor, vendor_open

KEY = {"Authorization": "Bearer stand-in"}
ASK: dict[str, Any] = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "Goodbye!"}]}
ANSWER = "Thank you for calling Bella. Goodbye!"
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "end_call", "description": "Hang up."}}
OFFER: dict[str, Any] = {**ASK, "reasoning_effort": "none", "tools": [TOOL]}


@pytest_asyncio.fixture
async def vendor() -> AsyncIterator[Vendor]:
    async with vendor_open() as opened:
        yield opened


async def post(vendor: Vendor, body: object, headers: dict[str, str] | None = None) -> tuple[int, str]:
    data = body if isinstance(body, str) else json.dumps(body)
    async with (
        ClientSession(headers=KEY if headers is None else headers) as session,
        session.post(f"{vendor.url}/chat/completions", data=data) as response,
    ):
        return response.status, await response.text()


async def events(vendor: Vendor, body: dict[str, Any]) -> list[Any]:
    status, text = await post(vendor, body)
    assert status == 200
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


async def test_a_stream_begins_with_the_role_and_ends_with_the_reason(vendor: Vendor) -> None:
    chunks = await events(vendor, {**ASK, "stream": True})
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert "".join(choice["delta"]["content"] for choice in choices[:-1]) == ANSWER
    assert len(choices) == len(ANSWER.split()) + 2
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert not any("usage" in chunk for chunk in chunks)
    assert vendor.app[STREAMS].finished == 1


async def test_a_tool_call_follows_the_words_in_bits(vendor: Vendor) -> None:
    chunks = await events(vendor, {**OFFER, "stream": True})
    choices = [chunk["choices"][0] for chunk in chunks]
    words, (named, arguments, last) = choices[1:-3], choices[-3:]
    assert "".join(choice["delta"]["content"] for choice in words) == ANSWER
    (first,) = named["delta"]["tool_calls"]
    assert first.pop("id").startswith("call_")
    assert first == {"index": 0, "type": "function", "function": {"name": "end_call", "arguments": ""}}
    assert arguments["delta"] == {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}
    assert (last["delta"], last["finish_reason"]) == ({}, "tool_calls")


@pytest.mark.parametrize(
    "ask",
    [
        {**OFFER, "messages": [{"role": "user", "content": "What are your opening hours?"}]},
        {**OFFER, "tools": [{"type": "function", "function": {"name": "transfer"}}]},
        {**OFFER, "tools": None},
        {**OFFER, "max_completion_tokens": 3},
    ],
)
async def test_only_a_tool_that_is_offered_is_called_and_only_at_the_end(vendor: Vendor, ask: dict[str, Any]) -> None:
    chunks = await events(vendor, {**ask, "stream": True})
    assert not any("tool_calls" in chunk["choices"][0]["delta"] for chunk in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] in ("stop", "length")


@pytest.mark.parametrize("effort", [None, "low"])
async def test_tools_are_refused_with_any_effort_but_none(vendor: Vendor, effort: str | None) -> None:
    status, text = await post(vendor, {**OFFER, "reasoning_effort": effort})
    assert (status, json.loads(text)["error"]["param"]) == (400, "reasoning_effort")
    assert "Function tools with reasoning_effort are not supported for gpt-6-luna" in text


async def test_the_sdk_reads_a_tool_call(vendor: Vendor) -> None:
    async with openai.AsyncOpenAI(base_url=vendor.url, api_key="stand-in", max_retries=0) as client:
        answer = await client.chat.completions.create(
            model="gpt-6-luna",
            messages=[{"role": "user", "content": "Goodbye!"}],
            tools=[{"type": "function", "function": {"name": "end_call"}}],
            reasoning_effort="none",
        )
    assert answer.choices[0].finish_reason == "tool_calls"
    calls = answer.choices[0].message.tool_calls or []
    functions = [call.function for call in calls if call.type == "function"]
    assert [(function.name, function.arguments) for function in functions] == [("end_call", "{}")]


async def test_usage_comes_in_a_last_chunk_without_choices_when_asked_for(vendor: Vendor) -> None:
    chunks = await events(vendor, {**ASK, "stream": True, "stream_options": {"include_usage": True}})
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {"prompt_tokens": 1, "completion_tokens": 6, "total_tokens": 7}


async def test_a_reply_that_needs_more_tokens_than_allowed_is_cut(vendor: Vendor) -> None:
    chunks = await events(vendor, {**ASK, "stream": True, "max_completion_tokens": 3})
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "Thank you for"


async def test_without_stream_the_answer_is_one_object_that_the_sdk_reads(vendor: Vendor) -> None:
    async with openai.AsyncOpenAI(base_url=vendor.url, api_key="stand-in", max_retries=0) as client:
        answer = await client.chat.completions.create(
            model="gpt-6-luna", messages=[{"role": "user", "content": [{"type": "text", "text": "Goodbye!"}]}]
        )
        names = [model.id async for model in client.models.list()]
    assert answer.choices[0].message.content == ANSWER
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 7
    assert names == ["gpt-6-luna"]


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Basic stand-in"}, {"Authorization": "Bearer sk-wrong-key-1"}]
)
async def test_only_the_right_key_is_let_in(vendor: Vendor, headers: dict[str, str]) -> None:
    status, text = await post(vendor, ASK, headers)
    assert status == 401
    error = json.loads(text)["error"]
    assert error["type"] == "invalid_request_error"
    assert "wrong-key" not in text
    async with ClientSession(headers=headers) as session, session.get(f"{vendor.url}/models") as response:
        assert response.status == 401


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ("{", None),
        ("[]", None),
        ({}, "model"),
        ({**ASK, "messages": []}, "messages"),
        ({**ASK, "messages": [{"role": "robot", "content": "hi"}]}, "messages.0.role"),
        ({**ASK, "temperature": 3}, "temperature"),
        ({**ASK, "max_completion_tokens": 0}, "max_completion_tokens"),
        ({**ASK, "stream_options": {"include_usage": True}}, "stream_options"),
        ({**ASK, "flavour": "vanilla"}, "flavour"),
        ({**OFFER, "tools": []}, "tools"),
        ({**OFFER, "tools": [{"type": "robot"}]}, "tools.0.type"),
        ({**OFFER, "tools": [{"type": "function", "function": {"name": "end call"}}]}, "tools.0.function.name"),
    ],
)
async def test_a_request_that_is_not_valid_is_refused_and_the_parameter_named(
    vendor: Vendor, body: object, param: str | None
) -> None:
    status, text = await post(vendor, body)
    assert status == 400
    error = json.loads(text)["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["message"]


@pytest.mark.parametrize(("fault", "status", "code"), [("429", 429, "rate_limit_exceeded"), ("500", 500, None)])
async def test_a_fault_is_told_in_the_vendors_words_also_in_the_middle_of_a_stream(
    vendor: Vendor, fault: Fault, status: int, code: str | None
) -> None:
    vendor.behaviour.llm_fault = fault
    refused, text = await post(vendor, {**ASK, "stream": True})
    error = json.loads(text)["error"]
    assert (refused, error["code"]) == (status, code)
    vendor.behaviour.llm_fault_tokens = 2
    accepted, text = await post(vendor, {**ASK, "stream": True})
    *chunks, last = [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n") if line]
    assert accepted == 200
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks) == "Thank you"
    assert last["error"] == error
    assert (vendor.app[STREAMS].failed, vendor.app[STREAMS].finished) == (1, 0)
