"""The model's answer to a turn, spoken while it is being written."""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from services.llm.clauses import Clauses
from services.llm.draft import Draft
from services.llm.latency import Latency
from services.llm.outbox import Outbox
from services.llm.provider import ChatMessage, ChatModel, EndCall, ProviderFailed, TextDelta, Usage
from services.llm.remainder import Diverged, Remainder
from services.llm.reply import Reply
from services.llm.seam import Seam, told_to_continue
from shared.call import Call
from shared.messages import ErrorHappened

log = structlog.get_logger()

APOLOGY = "I am sorry, something went wrong on my side. Could you say that again, please?"
FAREWELL = "Thank you for your call. Goodbye!"
"""Of a model that ends the call without a word."""
_CLOSE_S = 1.0


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
        self._draft: Draft | None = None
        """The newest."""
        self._counting: set[asyncio.Task[None]] = set()

    def prepare(self, messages: Sequence[ChatMessage]) -> Draft:
        """Have the model begin to answer `messages`; nobody hears it. Give the draft to `answer`, or discard it."""
        self._draft = Draft(self._model, messages, self._call.spawn, self._count, self._clock)
        return self._draft

    async def answer(
        self, reply: Reply, messages: Sequence[ChatMessage], latency: Latency, draft: Draft | None = None
    ) -> bool:
        """Speak the model's answer to `messages`, or an apology; to be cancelled by an interruption.

        What was said of `reply` before is not said again. `draft` is used when it answers the same messages.
        Returns whether the model wants the call to end.
        """
        prepared = _prepared(draft, messages)
        latency.speculated = prepared is not None
        said = reply.said
        ends_call = False
        try:
            try:
                ends_call = await self._speak(reply, prepared or self.prepare(messages), latency, said=said)
            except Diverged:
                # Other words than those that the caller has heard already.
                log.info("reply_continued", call_id=self._call.id, generation=reply.generation)
                continuing = self.prepare(told_to_continue(messages, said.strip()))
                ends_call = await self._speak(reply, continuing, latency, Seam(said, continues=True))
        except ProviderFailed as error:
            log.warning("model_failed", call_id=self._call.id, provider=self._provider, reason=str(error))
            self._apologise(reply, latency, error)
        reply.end()
        return ends_call

    async def _speak(
        self, reply: Reply, draft: Draft, latency: Latency, seam: Seam | None = None, said: str = ""
    ) -> bool:
        """Speak what is written in `draft`, behind `seam` or else behind the words `said`.

        Raises Diverged when it begins with others than `said`.
        """
        max_chars = self._call.profile.llm.max_reply_chars
        clauses = Clauses(max_chars if seam is None else max(0, max_chars - len(reply.said)))
        # By whole pieces, so that they are cut where they were cut before and have the numbers they had.
        remainder, seam = Remainder(said), seam or Seam("")
        latency.first_text_at = None
        ends_call = False
        try:
            async for item in draft:
                if isinstance(item, EndCall):
                    ends_call = True
                elif isinstance(item, TextDelta):
                    latency.first_text_at = draft.first_text_at
                    self._say(reply, [remainder.of(piece) for piece in clauses.feed(seam.feed(item.text))], latency)
                if clauses.full:
                    break
        finally:
            draft.close()
        rest = [*clauses.feed(seam.end()), *clauses.flush()]
        self._say(reply, [remainder.of(piece) for piece in rest], latency)
        if not reply.said:
            if not ends_call:
                raise ProviderFailed("the model said nothing")
            self._say(reply, [FAREWELL], latency)
        return ends_call

    def _say(self, reply: Reply, pieces: Sequence[str], latency: Latency) -> None:
        for piece in pieces:
            reply.say(piece)
        if latency.first_piece_at is None and reply.said:
            latency.first_piece_at = self._clock()

    def _apologise(self, reply: Reply, latency: Latency, error: ProviderFailed) -> None:
        self._outbox.record(ErrorHappened(error=str(error)[:500], fatal=False))
        if not reply.said:
            latency.first_text_at = None
        self._say(reply, [APOLOGY], latency)

    def _count(self, usage: Usage, estimated: bool) -> None:
        if estimated and not usage.input_tokens:
            return
        provider = usage.provider or self._provider
        kind = "estimated_" if estimated else ""
        amounts = {f"{kind}input_tokens": usage.input_tokens, f"{kind}output_tokens": usage.output_tokens}
        task = self._call.spawn(self._call.count(provider, usage.model, **amounts))
        self._counting.add(task)
        task.add_done_callback(self._counting.discard)

    async def close(self) -> None:
        """The call has ended: nothing more is written, and what was used is counted."""
        if self._draft is not None:
            self._draft.close()
        if self._counting:
            await asyncio.wait(self._counting, timeout=_CLOSE_S)
        await self._model.close()


def _prepared(draft: Draft | None, messages: Sequence[ChatMessage]) -> Draft | None:
    """The draft, when it is of use."""
    if draft is None:
        return None
    if draft.messages == list(messages) and draft.failure is None:
        draft.release()
        return draft
    draft.discard()
    return None
