"""A language model that says what a test wants, when it wants it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from services.llm.provider import ChatMessage, EndCall, ReplyItem, TextDelta, Usage

Step = str | EndCall | Usage | Exception | asyncio.Event | Callable[[], None]
"""Text to say, the end of the call, the usage, an error to raise, something to wait for, or something to do."""


class ScriptedModel:
    """Answers each request with the next of its scripts."""

    name = "scripted-1"
    provider = ""

    def __init__(self, *scripts: Sequence[Step]) -> None:
        """One script a request, in order."""
        self.asked: list[list[ChatMessage]] = []
        self.said: list[str] = []
        self.cut_off = asyncio.Event()
        """A request was closed before its end."""
        self.closed = False
        self._scripts = list(scripts)

    async def reply(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[ReplyItem, None]:
        self.asked.append(list(messages))
        script = self._scripts.pop(0)
        try:
            for step in script:
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    raise step
                elif isinstance(step, EndCall | Usage):
                    yield step
                elif isinstance(step, str):
                    self.said.append(step)
                    yield TextDelta(step)
                else:
                    step()
        except (asyncio.CancelledError, GeneratorExit):
            self.cut_off.set()
            raise

    async def close(self) -> None:
        self.closed = True

    @property
    def last_asked(self) -> list[tuple[str, str]]:
        """The newest request without its system prompt."""
        return [(message.role, message.content) for message in self.asked[-1][1:]]
