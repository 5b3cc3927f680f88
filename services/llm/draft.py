"""A reply in preparation: the model writes, and nobody hears it yet."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any

from prometheus_client import Counter

from services.llm.provider import ChatMessage, ChatModel, ProviderFailed, ReplyItem, TextDelta, Usage

_SPECULATIONS = Counter("trunkline_speculations_total", "Replies prepared before the turn was over", ["result"])
_WASTED = Counter("trunkline_speculation_wasted_tokens_total", "Tokens of prepared replies that nobody heard")
_CHARS_PER_TOKEN = 4
"""Of English prose, as OpenAI's tokenizers cut it."""

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
Count = Callable[[Usage, bool], None]
"""Told once what the draft cost, and whether that is an estimate."""


class Draft:
    """What the model answers to `messages`. To be iterated over by one consumer, at any time, and then closed.

    A provider does not tell the tokens of a stream that was closed early: then what it cost is estimated, with 4
    characters a token, from the prompt and from what was written; reasoning cannot be seen.
    """

    def __init__(
        self,
        model: ChatModel,
        messages: Sequence[ChatMessage],
        spawn: Spawn,
        count: Count,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Begins to write at once, in a task from `spawn`."""
        self.messages = list(messages)
        self.first_text_at: float | None = None
        """Unix seconds of the first text."""
        self.failure: ProviderFailed | None = None
        """Why the model did not come to the end; raised to the consumer behind what was written."""
        self._model = model
        self._count = count
        self._clock = clock
        self._items: asyncio.Queue[ReplyItem | None] = asyncio.Queue()
        self._asked = self._counted = self._decided = False
        self._written = 0
        self._usage: Usage | None = None
        self._task = spawn(self._write())

    async def _write(self) -> None:
        self._asked = True
        try:
            async with aclosing(self._model.reply(self.messages)) as stream:
                async for item in stream:
                    self._note(item)
                    self._items.put_nowait(item)
        except ProviderFailed as failure:
            self.failure = failure
        finally:
            self._items.put_nowait(None)
        self._settle()

    def _note(self, item: ReplyItem) -> None:
        if isinstance(item, Usage):
            self._usage = item
        elif isinstance(item, TextDelta):
            self.first_text_at = self.first_text_at or self._clock()
            self._written += len(item.text)

    def __aiter__(self) -> "Draft":
        return self

    async def __anext__(self) -> ReplyItem:
        """The next item, once it is written. Raises ProviderFailed."""
        item = await self._items.get()
        if item is not None:
            return item
        # A defect of the provider is the consumer's too.
        await self._task
        if self.failure is not None:
            raise self.failure
        raise StopAsyncIteration

    def close(self) -> None:
        """No more is wanted of it. What was written is paid for."""
        self._task.cancel()
        self._settle()

    def release(self) -> None:
        """The turn is what was thought: the draft will be heard."""
        self._decided = True
        _SPECULATIONS.labels("hit").inc()

    def discard(self) -> None:
        """The turn went on, or became another: nobody will hear the draft. Of one that was released: nothing."""
        if self._decided:
            return
        self._decided = True
        self.close()
        _SPECULATIONS.labels("miss").inc()
        spent, _ = self._spent()
        _WASTED.inc(spent.input_tokens + spent.output_tokens)

    def _spent(self) -> tuple[Usage, bool]:
        if self._usage is not None:
            return self._usage, False
        if not self._asked or (self.failure is not None and not self._written):
            return Usage(self._model.name, 0, 0, provider=self._model.provider), True
        read = sum(len(message.content) for message in self.messages)
        tokens_in, tokens_out = (-(-chars // _CHARS_PER_TOKEN) for chars in (read, self._written))
        return Usage(self._model.name, tokens_in, tokens_out, provider=self._model.provider), True

    def _settle(self) -> None:
        if not self._counted:
            self._counted = True
            self._count(*self._spent())
