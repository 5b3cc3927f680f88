"""A model that outlives its providers: each reply comes from the first choice that can give it."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import structlog

from services.llm.provider import ChatMessage, ChatModel, EndCall, ProviderFailed, ReplyItem, TextDelta, Usage
from services.llm.seam import Seam, told_to_continue
from shared.breakers import Breakers
from shared.deadline import Within, within
from shared.metrics import PROVIDER_FAILURES, PROVIDER_SWITCHES
from shared.settings import Settings

log = structlog.get_logger()

_TRIES = 2
"""Of one choice in one reply."""
_PAUSE_S = (0.1, 0.3)
"""Before the second try, chosen at random: many calls fail at the same moment and shall not come back together."""
_PATIENCE_S = 1.5
"""A vendor that wants a longer pause is not asked again: the caller waits."""


@dataclass(eq=False, slots=True)
class Choice:
    """One provider's model, opened for a call."""

    provider: str
    model: ChatModel
    failed_at: float = float("-inf")
    """Seconds of the model's clock; it has not worked since."""

    @property
    def breaker(self) -> str:
        """The name of the provider's circuit breaker."""
        return f"llm.{self.provider}"


@dataclass(slots=True)
class _Told:
    """What was given of one reply, by whichever choices."""

    text: str = ""
    ended: bool = False

    @property
    def empty(self) -> bool:
        return not (self.text.strip() or self.ended)


class ResilientModel:
    """Asks its choices in order, each again if that may help, and never says a word twice.

    A choice that failed comes last in this call while its breaker would rest. Raises ProviderFailed when none is left.
    """

    def __init__(
        self,
        choices: Sequence[Choice],
        breakers: Breakers,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """At least one choice, in the order of the profile."""
        self._choices = tuple(choices)
        self._breakers = breakers
        self._answer_s = settings.provider_answer_s
        self._rest_s = settings.breaker_open_s
        self._clock = clock
        usable = self._usable()
        self._serving = next((choice for choice in usable if not breakers.rests(choice.breaker)), usable[0])

    @property
    def name(self) -> str:
        """The model that answered last; before that, the one to be asked first."""
        return self._serving.model.name

    @property
    def provider(self) -> str:
        """The provider of that model."""
        return self._serving.provider

    async def reply(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[ReplyItem, None]:
        told = _Told()
        failures: list[str] = []
        waiting = self._usable()
        while waiting:
            choice = waiting.pop(0)
            for tried in range(1, _TRIES + 1):
                if not self._breakers.allows(choice.breaker):
                    failures.append(f"{choice.provider} rests after failures")
                    break
                try:
                    async with aclosing(self._answer(choice, messages, told)) as items:
                        async for item in items:
                            yield item
                    return
                except ProviderFailed as failure:
                    await self._note(choice, failure)
                    failures.append(f"{choice.provider}: {failure}")
                    if told.ended:
                        return
                    pause = self._pause(failure, told, waiting)
                if pause is None or tried == _TRIES:
                    break
                await asyncio.sleep(pause)
        raise ProviderFailed("; ".join(failures)[:500], "exhausted")

    async def _answer(
        self, choice: Choice, messages: Sequence[ChatMessage], told: _Told
    ) -> AsyncGenerator[ReplyItem, None]:
        """The rest of the reply, from one choice; its breaker is told when that went well."""
        before = told.text
        try:
            seam = Seam(before)
            async with aclosing(self._joined(choice, messages, told, seam)) as items:
                async for item in items:
                    yield item
            if seam.differs:
                continuing = told_to_continue(messages, before)
                async with aclosing(self._joined(choice, continuing, told, Seam(before, continues=True))) as items:
                    async for item in items:
                        yield item
        except (GeneratorExit, asyncio.CancelledError):
            # Enough was said, or the caller interrupted: not the provider's fault.
            if told.text != before:
                await self._breakers.succeeded(choice.breaker)
            raise
        if told.empty:
            raise ProviderFailed("the model said nothing", "empty", again=True, at_fault=False)
        choice.failed_at = float("-inf")
        await self._breakers.succeeded(choice.breaker)

    async def _joined(
        self, choice: Choice, messages: Sequence[ChatMessage], told: _Told, seam: Seam
    ) -> AsyncGenerator[ReplyItem, None]:
        """What one request adds to what was told; ends early when the seam finds that it does not fit."""
        limit = within(self._answer_s)
        async with aclosing(choice.model.reply(messages)) as stream:
            while not seam.differs and (item := await self._next(stream, limit)) is not None:
                self._serve(choice)
                text = seam.feed(item.text) if isinstance(item, TextDelta) else seam.end()
                if text:
                    told.text += text
                    yield TextDelta(text)
                if isinstance(item, EndCall) and not (told.ended or seam.differs):
                    told.ended = True
                    yield item
                elif isinstance(item, Usage):
                    yield replace(item, provider=choice.provider)
        if text := seam.end():
            told.text += text
            yield TextDelta(text)

    async def _next(self, stream: AsyncGenerator[ReplyItem, None], limit: Within) -> ReplyItem | None:
        """The next item within the limit, or None at the end."""
        try:
            async with limit:
                return await anext(stream, None)
        except TimeoutError as error:
            raise ProviderFailed(f"no words within {self._answer_s:g} s", "timeout", again=True) from error

    async def _note(self, choice: Choice, failure: ProviderFailed) -> None:
        log.warning(
            "provider_failed", role="llm", provider=choice.provider, model=choice.model.name, reason=str(failure)
        )
        PROVIDER_FAILURES.labels("llm", choice.provider, failure.reason).inc()
        if failure.at_fault:
            choice.failed_at = self._clock()
            await self._breakers.failed(choice.breaker, failure.reason)

    def _pause(self, failure: ProviderFailed, told: _Told, waiting: Sequence[Choice]) -> float | None:
        """Seconds until the same choice is asked again, or None if it is not."""
        others = any(not self._breakers.rests(choice.breaker) for choice in waiting)
        if not failure.again or (others and (told.text or failure.reason == "timeout")):
            # The caller has waited enough: whoever comes next shall answer at once.
            return None
        pause = random.uniform(*_PAUSE_S) + (failure.retry_after_s or 0.0)  # noqa: S311
        return pause if pause <= (_PAUSE_S[1] if others else _PATIENCE_S) else None

    def _usable(self) -> list[Choice]:
        """The choices in the order in which they are asked now."""
        now = self._clock()
        return sorted(self._choices, key=lambda choice: now - choice.failed_at < self._rest_s)

    def _serve(self, choice: Choice) -> None:
        before, self._serving = self._serving, choice
        if before is not choice:
            PROVIDER_SWITCHES.labels("llm", before.provider, choice.provider).inc()
            log.info("provider_switched", role="llm", provider=choice.provider, model=choice.model.name)

    async def close(self) -> None:
        await asyncio.gather(*(choice.model.close() for choice in self._choices))
