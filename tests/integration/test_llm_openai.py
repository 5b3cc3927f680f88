"""What the OpenAI provider sends, and what it makes of a vendor that fails."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from services.llm.models import Models
from services.llm.provider import ChatMessage, ChatModel, EndCall, ProviderFailed, ReplyItem, TextDelta
from services.llm.providers.openai import OpenAiModels
from shared.agents import AgentProfile, LlmProfile
from shared.stage import CannotServe
from simulator.standins.openai import STREAMS
from tests.llm_vendor import serving, settings_for, vendor_open

HELLO = [ChatMessage(role="system", content="You are Bella."), ChatMessage(role="user", content="goodbye")]
KEY = "sk-test-0123456789"


@asynccontextmanager
async def model_at(url: str, key: str = KEY, profile: LlmProfile | None = None) -> AsyncIterator[ChatModel]:
    """The provider alone: nobody asks again for it."""
    models = OpenAiModels(settings_for(url, key))
    profile = profile or LlmProfile()
    try:
        with suppress(ProviderFailed):
            await models.check(profile.model)
        yield models.open(profile)
    finally:
        await models.close()


async def items(model: ChatModel) -> list[ReplyItem]:
    async with aclosing(model.reply(HELLO)) as stream:
        return [item async for item in stream]


async def read(model: ChatModel) -> str:
    return "".join(item.text for item in await items(model) if isinstance(item, TextDelta))


async def failure(model: ChatModel) -> str:
    with pytest.raises(ProviderFailed) as caught:
        await asyncio.wait_for(read(model), 5)
    assert KEY not in str(caught.value)
    return str(caught.value)


async def test_a_wrong_key_is_known_before_the_call() -> None:
    async with vendor_open() as vendor:
        models = Models(settings_for(vendor.url, KEY))
        with pytest.raises(CannotServe, match="OPENAI_API_KEY") as refused:
            await models.open(AgentProfile(name="bella"))
        await models.close()
        assert KEY not in str(refused.value)


async def test_an_unknown_model_is_known_before_the_call() -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "no", "code": "model_not_found"}}, status=404)

    app = web.Application()
    app.router.add_get("/v1/models/{name}", refuse)
    async with serving(app) as url:
        with pytest.raises(CannotServe, match=r"llm\.model"):
            async with model_at(url):
                pass


async def test_a_key_that_becomes_wrong_names_the_variable() -> None:
    async with vendor_open() as vendor, model_at(vendor.url, "stand-in") as model:
        vendor.behaviour.api_key = "another"
        assert "OPENAI_API_KEY" in await failure(model)
        assert vendor.app[STREAMS].finished == 0


async def test_a_request_that_the_vendor_refuses_says_why() -> None:
    profile = LlmProfile(reasoning_effort="enormous")
    async with vendor_open() as vendor, model_at(vendor.url, "stand-in", profile) as model:
        reason = await failure(model)
        assert "status 400" in reason
        assert "reasoning_effort" in reason


async def test_a_vendor_that_does_not_answer_is_given_up() -> None:
    async with vendor_open() as vendor:
        models = OpenAiModels(settings_for(vendor.url, provider_answer_s=0.1))
        vendor.behaviour.llm_first_token_ms = 60_000
        assert await failure(models.open(LlmProfile())) == "no answer from 127.0.0.1 in time"
        await vendor.seen_to_the_end()
        await models.close()


async def test_a_vendor_that_cannot_be_reached_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        async with model_at(f"http://127.0.0.1:{taken.getsockname()[1]}/v1") as model:
            assert await failure(model) == "no connection to 127.0.0.1"


CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
FIRST = {**CHUNK, "choices": [{"index": 0, "delta": {"content": "Good"}, "finish_reason": None}]}
ERROR = {"error": {"message": "The server had an error", "type": "server_error", "code": None}}


@pytest.mark.parametrize(
    ("status", "kind", "body", "reason"),
    [
        (500, "application/json", json.dumps(ERROR), "status 500"),
        (503, "text/html", "<html>Bad gateway</html>", "status 503"),
        (429, "application/json", json.dumps({"error": {"message": "no", "code": "insufficient_quota"}}), "quota"),
        (200, "text/html", "<html>Hello</html>", "broke off"),
        (200, "text/event-stream", "", "broke off"),
        (200, "text/event-stream", "data: [DONE]\n\n", "broke off"),
        (200, "text/event-stream", "data: {oops\n\n", "cannot be read"),
        (200, "text/event-stream", "data: [1, 2]\n\n", "cannot be read"),
        (200, "text/event-stream", 'data: {"hello": "world"}\n\n', "cannot be read"),
        (200, "text/event-stream", 'data: {"choices": [7]}\n\n', "cannot be read"),
        (200, "text/event-stream", f"data: {json.dumps(ERROR)}\n\n", "The server had an error"),
        (200, "text/event-stream", f"data: {json.dumps(FIRST)}\n\n", "broke off"),
    ],
)
async def test_a_vendor_that_fails(status: int, kind: str, body: str, reason: str) -> None:
    async def fail(request: web.Request) -> web.Response:
        return web.Response(status=status, text=body, content_type=kind)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", fail)
    async with serving(app) as url, model_at(url) as model:
        assert reason in await failure(model)


async def test_a_connection_that_is_cut_in_mid_reply_is_a_failure() -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(f"data: {json.dumps(FIRST)}\n\n".encode())
        assert request.transport is not None
        request.transport.abort()
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", cut)
    async with serving(app) as url, model_at(url) as model:
        assert "no connection to 127.0.0.1" in await failure(model)


async def test_a_connection_that_is_cut_before_the_reply_has_not_timed_out() -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.StreamResponse()

    app = web.Application()
    app.router.add_post("/v1/chat/completions", cut)
    async with serving(app) as url, model_at(url) as model:
        assert await failure(model) == "no connection to 127.0.0.1"


def delta(content: str | None = None, *calls: dict[str, object], finish_reason: str | None = None) -> dict[str, object]:
    """A chunk of a stream."""
    inner = {**({} if content is None else {"content": content}), **({"tool_calls": list(calls)} if calls else {})}
    return {**CHUNK, "choices": [{"index": 0, "delta": inner, "finish_reason": finish_reason}]}


def call(index: int, arguments: str, name: str | None = None) -> dict[str, object]:
    """A bit of a tool call; the name comes with the first."""
    function = {"arguments": arguments, **({} if name is None else {"name": name})}
    return {"index": index, "function": function, **({} if name is None else {"id": "c", "type": "function"})}


END = delta(finish_reason="tool_calls")


@pytest.mark.parametrize(
    ("chunks", "found", "unknown"),
    [
        (
            [delta("Bye!"), delta(None, call(0, "", "end_call")), delta(None, call(0, "{}")), END],
            ["Bye!", EndCall()],
            [],
        ),
        ([delta(None, call(0, "{}", "end_call")), END], [EndCall()], []),
        ([delta("Bye!", call(0, "", "end_call"), call(1, "", "end_call")), END], ["Bye!", EndCall()], []),
        ([delta(None, call(0, "", "end_")), delta(None, call(0, "", "call")), END], [EndCall()], []),
        ([delta("Bye!", call(0, "{", "fly")), delta(None, call(0, "}")), END], ["Bye!"], [["fly"]]),
        ([delta(None, call(0, "", "fly"), call(1, "", "end_call")), END], [EndCall()], [["fly"]]),
        ([delta("Bye!", call(0, "{}", "end_call")), delta(finish_reason="stop")], ["Bye!", EndCall()], []),
        ([delta("Bye!", {"index": 0}), delta(finish_reason="stop")], ["Bye!"], [[""]]),
    ],
)
async def test_a_tool_call_that_comes_in_bits(
    chunks: list[dict[str, object]], found: list[object], unknown: list[list[str]]
) -> None:
    async def stream(request: web.Request) -> web.Response:
        lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
        return web.Response(text="".join(lines) + "data: [DONE]\n\n", content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", stream)
    async with serving(app) as url, model_at(url) as model:
        with capture_logs() as logs:
            told = [item.text if isinstance(item, TextDelta) else item for item in await items(model)]
    assert told == found
    assert [entry["tools"] for entry in logs if entry["event"] == "unknown_tool_called"] == unknown


async def test_a_tool_call_that_breaks_off_ends_nothing() -> None:
    async def stream(request: web.Request) -> web.Response:
        line = f"data: {json.dumps(delta(None, call(0, '', 'end_call')))}\n\n"
        return web.Response(text=line, content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", stream)
    async with serving(app) as url, model_at(url) as model:
        assert "broke off" in await failure(model)


async def test_a_vendor_that_refuses_tools_answers_without_them_and_is_not_offered_them_again() -> None:
    async with vendor_open() as vendor:
        models = Models(settings_for(vendor.url))
        with capture_logs() as logs:
            for calls in range(1, 4):
                _, model = await models.open(AgentProfile(name="bella", llm=LlmProfile(reasoning_effort="low")))
                told = await items(model)
                assert "".join(item.text for item in told if isinstance(item, TextDelta)).endswith("Goodbye!")
                assert EndCall() not in told
                assert vendor.requests == 2 * calls + 1, "one to check the model, one to answer, and one refused"
        _, other = await models.open(AgentProfile(name="bella", llm=LlmProfile(reasoning_effort="none")))
        assert EndCall() in await items(other)
        await models.close()
    refused = [entry for entry in logs if entry["event"] == "openai_refuses_tools"]
    assert len(refused) == 1
    assert "set reasoning_effort to 'none'" in refused[0]["reason"]


async def body_of(profile: LlmProfile) -> dict[str, Any]:
    bodies: list[dict[str, Any]] = []

    async def remember(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        return web.Response(status=500)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", remember)
    async with serving(app) as url, model_at(url, KEY, profile) as model:
        await failure(model)
    assert len(bodies) == 1, "the SDK tries once: the resilient model decides about a second try"
    return bodies[0]


async def test_only_what_the_profile_sets_is_sent() -> None:
    body = await body_of(LlmProfile(model="model-1", max_reply_chars=200, reasoning_effort=None))
    system, said = body.pop("messages")
    assert system["content"].startswith("You are Bella.\n")
    assert "call end_call" in system["content"]
    assert said == asdict(HELLO[1])
    (tool,) = body.pop("tools")
    assert (tool["type"], tool["function"]["name"]) == ("function", "end_call")
    assert tool["function"]["parameters"]["properties"] == {}
    assert body == {
        "model": "model-1",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens": 200 + 4096,
    }


async def test_temperature_and_effort_are_sent_when_set() -> None:
    body = await body_of(LlmProfile(temperature=0.0, reasoning_effort="none", max_reply_chars=200))
    assert (body["temperature"], body["reasoning_effort"], body["max_completion_tokens"]) == (0.0, "none", 200)


async def test_calls_share_their_connections() -> None:
    async with vendor_open() as vendor:
        models = Models(settings_for(vendor.url))
        profile = AgentProfile(name="bella", llm=LlmProfile(reasoning_effort="none"))
        opened = [(await models.open(profile))[1] for _ in range(2)]
        for model in opened:
            assert await read(model) == "Thank you for calling Bella. Goodbye!"
        assert vendor.requests == 4, "one to check the model and one to answer, for each call"
        assert len(vendor.peers) == 1
        await models.close()
