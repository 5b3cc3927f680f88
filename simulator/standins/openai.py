"""A stand-in for OpenAI's Chat Completions API that answers from a scenario.

Source of the protocol: OpenAI API reference, "Chat Completions" (create, streaming) and "Models".
"""

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.scenario import Scenario
from simulator.standins.behaviour import Behaviour
from simulator.standins.openai_faults import Faults

_TOKEN = re.compile(r"\s*\S+")
_MODELS = ("gpt-6-luna",)
_END_CALL = "end_call"
"""The tool that a scenario's intent may call, if the request offers it."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Streams:
    """How the streamed answers of a stand-in ended."""

    finished: int = 0
    cut_off: int = 0
    """The client went away first."""
    failed: int = 0
    """A fault struck in the middle."""


STREAMS = web.AppKey("openai_streams", Streams)


class _Part(BaseModel):
    type: Literal["text"]
    text: str


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class _Function(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern="^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Tool(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["function"]
    function: _Function


class _StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    include_usage: bool = False


class _Request(BaseModel):
    """The parameters of a request that the stand-in knows; the vendor refuses unknown ones too."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(min_length=1)
    messages: list[_Message] = Field(min_length=1)
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    max_completion_tokens: int | None = Field(default=None, ge=1)
    tools: list[_Tool] | None = Field(default=None, min_length=1)

    def offers(self, tool: str) -> bool:
        """Whether the model may call `tool`."""
        return any(offered.function.name == tool for offered in self.tools or ())


class _Refused(Exception):
    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
        self.response = web.json_response({"error": error}, status=status)


def _authorize(request: web.Request, behaviour: Behaviour) -> None:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or not key:
        raise _Refused(401, "You didn't provide an API key in an Authorization header (Bearer auth).")
    if key != behaviour.api_key:
        masked = f"{key[:2]}***{key[-2:]}" if len(key) > 8 else "***"
        raise _Refused(401, f"Incorrect API key provided: {masked}.", code="invalid_api_key")


async def _parse(request: web.Request) -> _Request:
    try:
        asked = _Request.model_validate(await request.json())
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"])
        raise _Refused(400, f"Invalid value for '{param}': {first['msg']}.", param=param or None) from error
    except ValueError as error:
        raise _Refused(400, "We could not parse the JSON body of your request.") from error
    if asked.stream_options is not None and not asked.stream:
        param = "stream_options"
        raise _Refused(400, f"The '{param}' parameter is only allowed when 'stream' is enabled.", param=param)
    if asked.tools and asked.model in _MODELS and asked.reasoning_effort != "none":
        # Also when no effort is given: https://github.com/BerriAI/litellm/pull/34569
        message = f"Function tools with reasoning_effort are not supported for {asked.model} in /v1/chat/completions. "
        advice = "To use function tools, use /v1/responses or set reasoning_effort to 'none'."
        raise _Refused(400, message + advice, param="reasoning_effort")
    return asked


class _Answer:
    """One completion: its tokens and how it looks on the wire. A tool call counts as no token."""

    def __init__(self, asked: _Request, scenario: Scenario) -> None:
        said = [message.text for message in asked.messages if message.role == "user"]
        tokens = _TOKEN.findall(scenario.respond(said))
        self.tokens = tokens[: asked.max_completion_tokens]
        whole = len(self.tokens) == len(tokens)
        self.tool_calls = (
            [_tool_call(_END_CALL, "{}")] if whole and scenario.ends_call(said) and asked.offers(_END_CALL) else []
        )
        self.finish_reason = "length" if not whole else "tool_calls" if self.tool_calls else "stop"
        read = sum(len(message.text.split()) for message in asked.messages)
        self.usage = {
            "prompt_tokens": read,
            "completion_tokens": len(self.tokens),
            "total_tokens": read + len(self.tokens),
        }
        self._asked = asked
        self._head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": asked.model}

    def whole(self) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self.tokens),
            "refusal": None,
            "annotations": [],
            **({"tool_calls": self.tool_calls} if self.tool_calls else {}),
        }
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": self.usage}

    def deltas_of_tools(self) -> Iterator[dict[str, Any]]:
        """Of each call its id, name and no arguments first, then the arguments."""
        for index, call in enumerate(self.tool_calls):
            named = {**call["function"], "arguments": ""}
            yield {"tool_calls": [{"index": index, **call, "function": named}]}
            yield {"tool_calls": [{"index": index, "function": {"arguments": call["function"]["arguments"]}}]}

    def chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._chunk([choice], None)

    def last_chunk(self) -> dict[str, Any] | None:
        return self._chunk([], self.usage) if self._with_usage else None

    @property
    def _with_usage(self) -> bool:
        options = self._asked.stream_options
        return options is not None and options.include_usage

    def _chunk(self, choices: list[dict[str, Any]], usage: dict[str, int] | None) -> dict[str, Any]:
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": choices}
        return {**chunk, "usage": usage} if self._with_usage else chunk


async def _stream(
    request: web.Request, answer: _Answer, behaviour: Behaviour, faults: Faults
) -> tuple[web.StreamResponse, bool]:
    """What was sent, and whether it is the whole answer."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})

    async def send(chunk: dict[str, Any]) -> None:
        await response.write(b"data: %b\n\n" % msgspec.json.encode(chunk))

    await asyncio.sleep(behaviour.llm_first_token_ms / 1000)
    await response.prepare(request)
    await send(answer.chunk({"role": "assistant", "content": "", "refusal": None}))
    for index, token in enumerate(answer.tokens):
        if index > 0:
            await asyncio.sleep(behaviour.llm_token_ms / 1000)
        if faults.strikes(index):
            await faults.amid(request, response)
            return response, False
        await send(answer.chunk({"content": token}))
    for delta in answer.deltas_of_tools():
        await send(answer.chunk(delta))
    await send(answer.chunk({}, answer.finish_reason))
    if (last := answer.last_chunk()) is not None:
        await send(last)
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response, True


def add_routes(app: web.Application, behaviour: Behaviour, scenario: Scenario) -> None:
    """Serve `/v1/chat/completions` and `/v1/models` on `app`; `app[STREAMS]` counts how answers ended.

    An answer stops at the next token after its client went away, or at once when the runner
    was made with `handler_cancellation=True`.
    """
    app[STREAMS] = streams = Streams()
    faults = Faults(behaviour)

    async def complete(request: web.Request) -> web.StreamResponse:
        answer = _Answer(asked := await _parse(request), scenario)
        if not asked.stream:
            await asyncio.sleep((behaviour.llm_first_token_ms + behaviour.llm_token_ms * len(answer.tokens)) / 1000)
            return web.json_response(answer.whole())
        try:
            response, whole = await _stream(request, answer, behaviour, faults)
        except (ConnectionResetError, asyncio.CancelledError):
            streams.cut_off += 1
            raise
        streams.finished += whole
        streams.failed += not whole
        return response

    async def models(request: web.Request) -> web.StreamResponse:
        return web.json_response({"object": "list", "data": [_model(name) for name in _MODELS]})

    async def model(request: web.Request) -> web.StreamResponse:
        return web.json_response(_model(request.match_info["name"]))

    app.router.add_post("/v1/chat/completions", _guarded(complete, behaviour, faults))
    app.router.add_get("/v1/models", _guarded(models, behaviour, faults))
    app.router.add_get("/v1/models/{name}", _guarded(model, behaviour, faults))


def _tool_call(name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 1767225600, "owned_by": "openai"}


def _guarded(handler: Handler, behaviour: Behaviour, faults: Faults) -> Handler:
    """`handler` for those who have the key, unless a fault strikes."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        try:
            _authorize(request, behaviour)
            return await (faults.instead(request) if faults.strikes(0) else handler(request))
        except _Refused as refused:
            return refused.response

    return guarded
