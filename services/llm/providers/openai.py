"""OpenAI Chat Completions, streamed through the vendor's SDK.

The SDK connects, refuses and times out. Its request and response models are left out, by the way that its README gives
for endpoints without any (`client.post`), and so is its reader of the event stream (`openai_stream.py`): they would
take more than half of a reply's CPU time. aiohttp carries the requests, which the SDK offers as well: httpx2 takes
twice its CPU time for a stream.
Importing this module takes half a second: import it only when the provider is used.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import replace

import aiohttp
import httpx2
import msgspec
import openai
import structlog
from openai import AsyncOpenAI, DefaultAioHttpClient

from services.llm.provider import ChatMessage, EndCall, ProviderFailed, ReplyItem, TextDelta, Usage
from services.llm.providers.openai_stream import Chunk, Chunks, ToolCall
from shared.agents import LlmProfile
from shared.settings import Settings
from shared.stage import CannotServe

log = structlog.get_logger()

_LIMITS = httpx2.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=300.0)
"""The SDK's, except for the expiry: turns lie further apart than its 5 s, and each would shake hands anew."""
_CHECK_S = 2.0
_REASONING_TOKENS = 4096
_END_CALL = {
    "type": "function",
    "function": {
        "name": "end_call",
        "description": "Hang up when your reply was heard. Call it, together with a goodbye, when the conversation "
        "is complete.",
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    },
}
_ENDING = "\nWhen the conversation is complete, say goodbye and call end_call in the same reply."


def max_tokens(profile: LlmProfile) -> int:
    """A ceiling for the bill that does not cut a reply which fits `max_reply_chars`.

    A token is seldom less than one character in any language; reasoning tokens count as well.
    """
    return profile.max_reply_chars + (0 if profile.reasoning_effort == "none" else _REASONING_TOKENS)


def _failure(error: Exception, client: AsyncOpenAI) -> ProviderFailed:
    """What went wrong in one short line for people, without the key."""
    host = client.base_url.host
    if isinstance(error, openai.APITimeoutError) and not _refused(error):
        return ProviderFailed(f"no answer from {host} in time", "timeout", again=True)
    if isinstance(error, openai.APIConnectionError):
        return ProviderFailed(f"no connection to {host}", "connection", again=True)
    if isinstance(error, openai.APIStatusError):
        return _refusal(error)
    if isinstance(error, openai.APIError):
        return ProviderFailed(f"the stream reported an error: {error.message}"[:300], "stream_error", again=True)
    return ProviderFailed(f"the answer cannot be read ({type(error).__name__})", "garbage", again=True)


def _refused(error: openai.APITimeoutError) -> bool:
    """Whether nothing has timed out: the SDK's way through aiohttp tells the same of a connection that is refused."""
    below = error.__cause__.__cause__ if error.__cause__ is not None else None
    return isinstance(below, aiohttp.ClientConnectionError) and not isinstance(below, TimeoutError)


def _refusal(error: openai.APIStatusError) -> ProviderFailed:
    status = error.status_code
    text = f"status {status}: {error.code or error.type or 'no code'}, {error.message}"[:300]
    overloaded = status == 429 and error.code != "insufficient_quota"
    return ProviderFailed(
        "OPENAI_API_KEY is refused (401)" if status == 401 else text,
        f"status_{status}",
        again=overloaded or status >= 500 or status in (408, 409),
        at_fault=status >= 500 or status in (401, 403, 408, 429),
        retry_after_s=_seconds(error.response.headers.get("retry-after", "")),
    )


def _seconds(header: str) -> float | None:
    """What `Retry-After` asks for, when it is in seconds; the vendor sends no dates."""
    return float(header) if header.isascii() and header.isdigit() else None


_Kind = tuple[str, str | None]
"""A model and its effort: what a vendor's refusal of tools depends on."""


class OpenAiModels:
    """The connections that all calls of a worker share."""

    def __init__(self, settings: Settings) -> None:
        """Connects when the first call is opened."""
        self._client = AsyncOpenAI(
            api_key=settings.openai_api_key.get_secret_value(),
            base_url=settings.openai_base_url,
            max_retries=0,
            timeout=openai.Timeout(settings.provider_answer_s, connect=settings.provider_connect_s),
            http_client=DefaultAioHttpClient(limits=_LIMITS),
        )
        # The SDK imports its parts at their first use: now, not in the first caller's turn.
        _ = self._client.chat.completions
        self._without_tools: set[_Kind] = set()
        self._check_s = min(_CHECK_S, settings.provider_answer_s)

    def open(self, profile: LlmProfile) -> "OpenAiModel":
        """A model for one call."""
        return OpenAiModel(self._client, profile, self._without_tools)

    async def check(self, model: str) -> None:
        """Ask for the model: a refusal is known before the caller speaks, and the connection is warm for the turn.

        Raises CannotServe when the key or the model is refused, ProviderFailed when the vendor does not work.
        """
        try:
            async with asyncio.timeout(self._check_s):
                await self._client.models.retrieve(model)
        except openai.AuthenticationError:
            raise CannotServe("OpenAI refused the key: set OPENAI_API_KEY to a valid one") from None
        except TimeoutError:
            raise ProviderFailed(f"no answer from {self._client.base_url.host} in time", "timeout") from None
        except (openai.OpenAIError, ValueError) as error:
            if isinstance(error, openai.APIStatusError) and error.code == "model_not_found":
                raise CannotServe(f"OpenAI has no model {model!r} for this key: set llm.model of the agent") from None
            raise _failure(error, self._client) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


class OpenAiModel:
    """One call's model."""

    def __init__(self, client: AsyncOpenAI, profile: LlmProfile, without_tools: set[_Kind]) -> None:
        """`client` is shared and stays open; `without_tools` is shared and grows with what the vendor refuses."""
        self._client = client
        self._profile = profile
        self._kind = (profile.model, profile.reasoning_effort)
        self._without_tools = without_tools

    provider = "openai"

    @property
    def name(self) -> str:
        return self._profile.model

    async def reply(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[ReplyItem, None]:
        usage: Usage | None = None
        finished = False
        tools = _ToolCalls()
        try:
            async with await self._ask(messages) as stream:
                async for chunks in stream:
                    text = ""
                    for chunk in chunks:
                        usage = _usage(chunk) or usage
                        for choice in chunk.choices or ():
                            finished = finished or choice.finish_reason is not None
                            text += choice.delta.content or ""
                            if choice.delta.tool_calls:
                                tools.feed(choice.delta.tool_calls)
                    if text:
                        yield TextDelta(text)
        except (openai.OpenAIError, msgspec.DecodeError, ValueError) as error:
            raise _failure(error, self._client) from error
        if not finished:
            raise ProviderFailed("the answer broke off", "broke_off", again=True)
        if tools.end_call:
            yield EndCall()
        if usage is not None:
            yield usage

    async def _ask(self, messages: Sequence[ChatMessage]) -> Chunks:
        if self._kind in self._without_tools:
            return await self._request(messages)
        try:
            return await self._request(_told_to_end(messages), tools=[_END_CALL])
        except openai.APIStatusError as error:
            if "tool" not in f"{error.param} {error.message}".lower():
                raise
            # OpenAI's newer models take tools on Chat Completions only with the effort "none", a compatible server
            # may take none at all: a call that the agent cannot end is better than none.
            log.warning("openai_refuses_tools", model=self.name, reason=str(_refusal(error)))
            self._without_tools.add(self._kind)
            return await self._request(messages)

    async def _request(self, messages: Sequence[ChatMessage], **tools: object) -> Chunks:
        profile = self._profile
        optional = {"temperature": profile.temperature, "reasoning_effort": profile.reasoning_effort}
        body = {
            "model": profile.model,
            "messages": list(messages),
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_completion_tokens": max_tokens(profile),
            **{name: value for name, value in optional.items() if value is not None},
            **tools,
        }
        content = msgspec.json.encode(body)
        return await self._client.post(
            "/chat/completions", cast_to=object, content=content, stream=True, stream_cls=Chunks
        )

    async def close(self) -> None:
        return None


class _ToolCalls:
    """The tool calls of one reply; the vendor sends them in bits, told apart by their index."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def feed(self, deltas: Iterable[ToolCall]) -> None:
        for delta in deltas:
            name = delta.function.name if delta.function is not None else None
            self._names[delta.index] = self._names.get(delta.index, "") + (name or "")

    @property
    def end_call(self) -> bool:
        """Whether the model wants to end the call; to be asked once, at the end."""
        unknown = [name for name in self._names.values() if name != "end_call"]
        if unknown:
            log.warning("unknown_tool_called", tools=[name[:64] for name in unknown])
        return len(unknown) < len(self._names)


def _told_to_end(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """`messages` with a system prompt that speaks of the tool: a model that has none would read its name aloud."""
    system, *rest = messages
    return [replace(system, content=system.content + _ENDING), *rest]


def _usage(chunk: Chunk) -> Usage | None:
    used = chunk.usage
    return None if used is None else Usage(chunk.model, used.prompt_tokens, used.completion_tokens)
