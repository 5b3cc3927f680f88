"""The offline model: answers from a scenario file, without a key or a network."""

import re
from collections.abc import AsyncGenerator, Sequence

from services.llm.provider import ChatMessage, EndCall, ReplyItem, TextDelta, Usage
from shared.scenario import Scenario

_WORD = re.compile(r"\s*\S+\s*")


class OfflineModel:
    """Streams the scenario's answer word by word; its usage is counted in words."""

    def __init__(self, scenario: Scenario) -> None:
        """`scenario` holds all that it can say."""
        self._scenario = scenario

    provider = "offline"

    @property
    def name(self) -> str:
        return self._scenario.name

    async def reply(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[ReplyItem, None]:
        said = [message.content for message in messages if message.role == "user"]
        words = _WORD.findall(self._scenario.respond(said))
        for word in words:
            yield TextDelta(word)
        if self._scenario.ends_call(said):
            yield EndCall()
        read = sum(len(message.content.split()) for message in messages)
        yield Usage(self.name, input_tokens=read, output_tokens=len(words))

    async def close(self) -> None:
        return None
