"""The model's answer to a turn, spoken while it is being written."""

import time
from collections.abc import Callable, Sequence
from contextlib import aclosing

import structlog

from services.llm.clauses import Clauses
from services.llm.latency import Latency
from services.llm.outbox import Outbox
from services.llm.provider import ChatMessage, ChatModel, ProviderFailed, TextDelta, Usage
from services.llm.reply import Reply
from shared.call import Call
from shared.messages import ErrorHappened

log = structlog.get_logger()

APOLOGY = "I am sorry, something went wrong on my side. Could you say that again, please?"
_TRIES = 2


class Answerer:
    """Has one call's model answer."""

    def __init__(
        self, call: Call, provider: str, model: ChatModel, outbox: Outbox, clock: Callable[[], float] = time.time
    ) -> None:
        """`provider` is the name that the usage is counted under."""
        self._call = call
        self._provider = provider
        self._model = model
        self._outbox = outbox
        self._clock = clock

    async def answer(self, reply: Reply, messages: Sequence[ChatMessage], latency: Latency) -> None:
        """Speak the model's answer to `messages`, or an apology; to be cancelled by an interruption."""
        for attempt in range(1, _TRIES + 1):
            try:
                await self._stream(reply, messages, latency)
                break
            except ProviderFailed as error:
                log.warning(
                    "model_failed", call_id=self._call.id, provider=self._provider, attempt=attempt, reason=str(error)
                )
                if reply.pieces or attempt == _TRIES:
                    self._apologise(reply, latency, error)
                    break
        reply.end()

    async def _stream(self, reply: Reply, messages: Sequence[ChatMessage], latency: Latency) -> None:
        clauses = Clauses(self._call.profile.llm.max_reply_chars)
        latency.first_text_at = None
        async with aclosing(self._model.reply(messages)) as stream:
            async for item in stream:
                if isinstance(item, Usage):
                    self._count(item)
                if not isinstance(item, TextDelta):
                    continue
                latency.first_text_at = latency.first_text_at or self._clock()
                self._say(reply, clauses.feed(item.text), latency)
                if clauses.full:
                    break
        self._say(reply, clauses.flush(), latency)
        if not reply.pieces:
            raise ProviderFailed("the model said nothing")

    def _say(self, reply: Reply, pieces: Sequence[str], latency: Latency) -> None:
        for piece in pieces:
            reply.say(piece)
        if reply.pieces and latency.first_piece_at is None:
            latency.first_piece_at = self._clock()

    def _apologise(self, reply: Reply, latency: Latency, error: ProviderFailed) -> None:
        self._outbox.record(ErrorHappened(error=f"{self._provider}: {error}"[:500], fatal=False))
        if not reply.pieces:
            latency.first_text_at = None
        self._say(reply, [APOLOGY], latency)

    def _count(self, usage: Usage) -> None:
        amounts = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
        self._call.spawn(self._call.count(self._provider, usage.model, **amounts))

    async def close(self) -> None:
        """The call has ended."""
        await self._model.close()
