"""OpenAI Chat Completions, streamed through the vendor's SDK.

Importing this module takes half a second: import it only when the provider is used.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, cast

import httpx2
import openai
import structlog
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, omit
from openai.types.chat import ChatCompletionChunk

from services.llm.provider import ChatMessage, ProviderFailed, ReplyItem, TextDelta, Usage
from shared.agents import LlmProfile
from shared.settings import Settings
from shared.stage import CannotServe

if TYPE_CHECKING:
    from openai.types import ReasoningEffort
    from openai.types.chat import ChatCompletionMessageParam

log = structlog.get_logger()

_CONNECT_S = 3.0
_READ_S = 8.0
"""A caller who hears nothing for longer has hung up."""
_LIMITS = httpx2.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=300.0)
"""The SDK's, except for the expiry: turns lie further apart than its 5 s, and each would shake hands anew."""
_CHECK_S = 2.0
_REASONING_TOKENS = 4096


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
        return f"status {error.status_code}: {error.code or error.type or 'no code'}, {error.message}"[:200]
    if isinstance(error, openai.APIError):
        return f"the stream reported an error: {error.message}"[:200]
    return f"the answer cannot be read ({type(error).__name__})"


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

    async def open(self, profile: LlmProfile) -> "OpenAiModel":
        """A model for one call. Raises CannotServe when the key or the model is refused."""
        await self._check(profile.model)
        return OpenAiModel(self._client, profile)

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

    def __init__(self, client: AsyncOpenAI, profile: LlmProfile) -> None:
        """`client` is shared and stays open."""
        self._client = client
        self._profile = profile

    async def reply(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[ReplyItem, None]:
        usage: Usage | None = None
        finished = False
        try:
            async with await self._ask(messages) as stream:
                async for chunk in stream:
                    usage = _usage(chunk) or usage
                    for choice in chunk.choices:
                        finished = finished or choice.finish_reason is not None
                        if choice.delta.content:
                            yield TextDelta(choice.delta.content)
        except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
            # The SDK does not validate chunks: one of another shape shows itself only when it is read.
            raise ProviderFailed(_reason(error, self._client.base_url.host)) from error
        if not finished:
            raise ProviderFailed("the answer broke off")
        if usage is not None:
            yield usage

    async def _ask(self, messages: Sequence[ChatMessage]) -> "openai.AsyncStream[ChatCompletionChunk]":
        profile = self._profile
        return await self._client.chat.completions.create(
            model=profile.model,
            messages=cast("list[ChatCompletionMessageParam]", [message.model_dump() for message in messages]),
            stream=True,
            stream_options={"include_usage": True},
            max_completion_tokens=max_tokens(profile),
            temperature=omit if profile.temperature is None else profile.temperature,
            reasoning_effort=(
                omit if profile.reasoning_effort is None else cast("ReasoningEffort", profile.reasoning_effort)
            ),
        )

    async def close(self) -> None:
        return None


def _usage(chunk: ChatCompletionChunk) -> Usage | None:
    used = chunk.usage
    return None if used is None else Usage(chunk.model, used.prompt_tokens, used.completion_tokens)
