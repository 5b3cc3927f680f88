"""OpenAI Chat Completions, streamed through the vendor's SDK.

Importing this module takes half a second: import it only when the provider is used.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

import httpx2
import openai
import structlog
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, omit
from openai.types.chat import ChatCompletionChunk
from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCall

from services.llm.provider import ChatMessage, EndCall, ProviderFailed, ReplyItem, TextDelta, Usage
from shared.agents import LlmProfile
from shared.settings import Settings
from shared.stage import CannotServe

if TYPE_CHECKING:
    from openai.types import ReasoningEffort
    from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam

log = structlog.get_logger()

_CONNECT_S = 3.0
_READ_S = 8.0
"""A caller who hears nothing for longer has hung up."""
_LIMITS = httpx2.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=300.0)
"""The SDK's, except for the expiry: turns lie further apart than its 5 s, and each would shake hands anew."""
_CHECK_S = 2.0
_REASONING_TOKENS = 4096
_END_CALL: "ChatCompletionFunctionToolParam" = {
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


def _reason(error: Exception, host: str) -> str:
    """One short line for people, without the key."""
    if isinstance(error, openai.AuthenticationError):
        return "OPENAI_API_KEY is refused (401)"
    if isinstance(error, openai.APITimeoutError):
        return f"no answer from {host} within {_READ_S:.0f} s"
    if isinstance(error, openai.APIConnectionError):
        return f"no connection to {host}"
    if isinstance(error, openai.APIStatusError):
        return f"status {error.status_code}: {error.code or error.type or 'no code'}, {error.message}"[:300]
    if isinstance(error, openai.APIError):
        return f"the stream reported an error: {error.message}"[:300]
    return f"the answer cannot be read ({type(error).__name__})"


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
            timeout=openai.Timeout(_READ_S, connect=_CONNECT_S),
            http_client=DefaultAsyncHttpxClient(limits=_LIMITS),
        )
        # The SDK imports its parts at their first use: now, not in the first caller's turn.
        _ = self._client.chat.completions
        self._without_tools: set[_Kind] = set()

    async def open(self, profile: LlmProfile) -> "OpenAiModel":
        """A model for one call. Raises CannotServe when the key or the model is refused."""
        await self._check(profile.model)
        return OpenAiModel(self._client, profile, self._without_tools)

    async def _check(self, model: str) -> None:
        """Ask for the model: a refusal is known before the caller speaks, and the connection is warm for the turn."""
        try:
            async with asyncio.timeout(_CHECK_S):
                await self._client.models.retrieve(model)
        except openai.AuthenticationError:
            raise CannotServe("OpenAI refused the key: set OPENAI_API_KEY to a valid one") from None
        except (openai.OpenAIError, ValueError, TimeoutError) as error:
            if isinstance(error, openai.APIStatusError) and error.code == "model_not_found":
                raise CannotServe(f"OpenAI has no model {model!r} for this key: set llm.model of the agent") from None
            # A compatible server need not list its models; a turn that fails is apologised for.
            log.warning("openai_model_not_checked", reason=_reason(error, self._client.base_url.host))

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

    @property
    def name(self) -> str:
        return self._profile.model

    async def reply(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[ReplyItem, None]:
        usage: Usage | None = None
        finished = False
        tools = _ToolCalls()
        try:
            async with await self._ask(messages) as stream:
                async for chunk in stream:
                    usage = _usage(chunk) or usage
                    for choice in chunk.choices:
                        finished = finished or choice.finish_reason is not None
                        tools.feed(choice.delta.tool_calls or ())
                        if choice.delta.content:
                            yield TextDelta(choice.delta.content)
        except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
            # The SDK does not validate chunks: one of another shape shows itself only when it is read.
            raise ProviderFailed(_reason(error, self._client.base_url.host)) from error
        if not finished:
            raise ProviderFailed("the answer broke off")
        if tools.end_call:
            yield EndCall()
        if usage is not None:
            yield usage

    async def _ask(self, messages: Sequence[ChatMessage]) -> "openai.AsyncStream[ChatCompletionChunk]":
        if self._kind in self._without_tools:
            return await self._request(messages)
        try:
            return await self._request(_told_to_end(messages), tools=[_END_CALL])
        except openai.APIStatusError as error:
            if "tool" not in f"{error.param} {error.message}".lower():
                raise
            # OpenAI's newer models take tools on Chat Completions only with the effort "none", a compatible server
            # may take none at all: a call that the agent cannot end is better than none.
            log.warning("openai_refuses_tools", model=self.name, reason=_reason(error, self._client.base_url.host))
            self._without_tools.add(self._kind)
            return await self._request(messages)

    async def _request(
        self, messages: Sequence[ChatMessage], **tools: Any
    ) -> "openai.AsyncStream[ChatCompletionChunk]":
        profile = self._profile
        stream: openai.AsyncStream[ChatCompletionChunk] = await self._client.chat.completions.create(
            model=profile.model,
            messages=cast("list[ChatCompletionMessageParam]", [message.model_dump() for message in messages]),
            stream=True,
            stream_options={"include_usage": True},
            max_completion_tokens=max_tokens(profile),
            temperature=omit if profile.temperature is None else profile.temperature,
            reasoning_effort=(
                omit if profile.reasoning_effort is None else cast("ReasoningEffort", profile.reasoning_effort)
            ),
            **tools,
        )
        return stream

    async def close(self) -> None:
        return None


class _ToolCalls:
    """The tool calls of one reply; the vendor sends them in bits, told apart by their index."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def feed(self, deltas: Iterable[ChoiceDeltaToolCall]) -> None:
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
    return [system.model_copy(update={"content": system.content + _ENDING}), *rest]


def _usage(chunk: ChatCompletionChunk) -> Usage | None:
    used = chunk.usage
    return None if used is None else Usage(chunk.model, used.prompt_tokens, used.completion_tokens)
