"""A call's provider for one role, out of several: opened, and replaced in mid-call when it is lost."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Any, Generic, Protocol, TypeVar

import structlog

from shared.breakers import Breakers
from shared.metrics import PROVIDER_FAILURES, PROVIDER_SWITCHES
from shared.provider_errors import NobodyServes, ProviderLost, Unavailable, reason_of
from shared.rotation import Rotation, backoff_s
from shared.stage import CannotServe

log = structlog.get_logger()

_STEADY_S = 10.0
"""A provider that stayed for so long was no mistake, even if nothing was asked of it."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How time passes for a call's providers."""

    give_up_s: float = 8.0
    """The caller waits no longer for a provider, once every one has failed."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = field(default=SystemRandom().random)


class Closable(Protocol):
    """What is opened."""

    async def close(self) -> None:
        """Never raises, never takes longer than a second."""


Made = TypeVar("Made", bound=Closable)


@dataclass(eq=False, slots=True)
class Link(Generic[Made]):
    """One opened provider."""

    index: int
    """Which of the choices it is."""
    opened_at: float
    made: Made | None = None
    """None: it is being opened."""
    error: Exception | None = None
    """It is lost."""
    answered: bool = False


class Failover(Generic[Made]):
    """Keeps one of the choices open. Needs a running loop."""

    def __init__(
        self,
        role: str,
        call_id: str,
        providers: Sequence[str],
        connect: Callable[[int, Link[Made]], Awaitable[Made]],
        breakers: Breakers,
        pace: Pace,
    ) -> None:
        """`connect` opens a choice by its number; it raises CannotServe, Unavailable when it may help to try again."""
        self._role = role
        self._call_id = call_id
        self._providers = providers
        self._connect = connect
        self._breakers = breakers
        self._pace = pace
        self.link: Link[Made] | None = None
        """The one that serves; None: there is none at the moment."""
        self._rotation = Rotation(len(providers))
        self._reasons: dict[str, str] = {}
        """How each failed last."""
        self._trouble_since: float | None = None
        self._newest = 0
        """The choice that was opened last."""
        self._recovering: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = False
        self.on_link: Callable[[Link[Made]], Awaitable[None]] | None = None
        """Called when another one serves in mid-call."""
        self.on_end: Callable[[Exception], None] | None = None
        """Called once when nobody does any more."""

    @property
    def provider(self) -> str:
        """Who serves, or did last."""
        return self._providers[self._newest]

    def _name(self, index: int) -> str:
        return f"{self._role}.{self._providers[index]}"

    async def open(self) -> None:
        """Open the first choice that serves. Raises CannotServe that names the reason of each."""
        errors: list[CannotServe] = []
        for index, provider in enumerate(self._providers):
            if not self._breakers.allows(self._name(index)):
                errors.append(CannotServe(f"{provider} has failed lately and is not asked at the moment"))
                continue
            try:
                link = await self._try(index)
            except CannotServe as error:
                log.warning("provider_not_opened", call_id=self._call_id, role=self._role, reason=str(error))
                errors.append(error)
            else:
                self._serve(link)
                return
        if len(errors) == 1:
            raise errors[0]
        raise CannotServe("; ".join(str(error) for error in errors))

    async def _try(self, index: int) -> Link[Made]:
        link: Link[Made] = Link(index, self._pace.clock())
        try:
            link.made = await self._connect(index, link)
            if link.error is not None:
                self._spawn(link.made.close())
                raise Unavailable("lost at once", reason_of(link.error))
        except Unavailable as error:
            self._rotation.failed(index)
            self._blame(index, error)
            raise
        except CannotServe as error:
            self._rotation.refused(index)
            self._blame(index, error, tell=False)
            raise
        return link

    def _blame(self, index: int, error: Exception, *, tell: bool = True) -> None:
        reason = reason_of(error)
        # What cannot be read may hold the words of a caller.
        known = isinstance(error, CannotServe | ProviderLost)
        self._reasons[self._providers[index]] = str(error) if known else type(error).__name__
        PROVIDER_FAILURES.labels(self._role, self._providers[index], reason).inc()
        if tell:
            self._spawn(self._breakers.failed(self._name(index), reason))

    def _serve(self, link: Link[Made]) -> None:
        before, after = self._providers[self._newest], self._providers[link.index]
        if link.index != self._newest:
            PROVIDER_SWITCHES.labels(self._role, before, after).inc()
            names = {"from": before, "to": after}
            log.warning("provider_switched", call_id=self._call_id, role=self._role, **names)
        self._newest, self.link = link.index, link

    def answered(self, link: Link[Made]) -> None:
        """It did what it was asked."""
        if not link.answered and link is self.link:
            link.answered, self._trouble_since = True, None
            self._rotation.answered()
            self._spawn(self._breakers.succeeded(self._name(link.index)))

    def lose(self, link: Link[Made], error: Exception, *, blame: bool = True) -> None:
        """It serves no more; without `blame` the fleet is not told. Another one is opened if it did serve."""
        if link.error is not None or self._over:
            return
        link.error = error
        if link is not self.link or link.made is None:
            return
        reason, provider = reason_of(error), self._providers[link.index]
        log.warning("provider_lost", call_id=self._call_id, role=self._role, provider=provider, reason=reason)
        now = self._pace.clock()
        if now - link.opened_at > _STEADY_S:
            self._rotation.answered()
            self._trouble_since = None
        self._trouble_since = now if self._trouble_since is None else self._trouble_since
        self._rotation.lost(link.index, silent=blame and reason == "timeout")
        self._blame(link.index, error, tell=blame)
        self.leave()
        self.resume()

    def leave(self) -> None:
        """Close the one that serves, for now without another in its place."""
        if self.link is not None and self.link.made is not None:
            self._spawn(self.link.made.close())
        self.link = None

    def resume(self) -> None:
        """Open one, if there is none and none is being opened."""
        if self.link is None and self._recovering is None and not self._over:
            self._recovering = self._spawn(self._recover())

    async def _recover(self) -> None:
        try:
            self._serve(await self._next())
        except NobodyServes as error:
            self._end(error)
            return
        finally:
            self._recovering = None
        if self.on_link is not None and self.link is not None:
            await self.on_link(self.link)

    async def _next(self) -> Link[Made]:
        """Try until one opens. Raises NobodyServes."""
        while order := list(self._rotation.order()):
            allowed = (choice for choice in order if self._breakers.allows(self._name(choice[1])))
            # A caller waits: one that has failed others lately is better than nobody, though not at once.
            step, index = next(allowed, None) or (max(1, order[0][0]), order[0][1])
            if step > 0:
                await self._wait(step)
            with suppress(CannotServe):
                return await self._try(index)
        raise NobodyServes(self._summary())

    async def _wait(self, step: int) -> None:
        now = self._pace.clock()
        if self._trouble_since is None:
            self._trouble_since = now
        if now - self._trouble_since > self._pace.give_up_s:
            raise NobodyServes(self._summary())
        await self._pace.sleep(backoff_s(step, self._pace.chance()))

    def _summary(self) -> str:
        reasons = [f"{provider}: {reason}" for provider, reason in self._reasons.items()]
        return f"no provider serves {self._role}: {'; '.join(reasons)}"

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._end(error)

    def _end(self, error: Exception) -> None:
        if not self._over and self.on_end is not None:
            self._over = True
            self.on_end(error)

    async def close(self) -> None:
        """Never raises, never takes longer than a second."""
        self._over = True
        if self._recovering is not None:
            self._recovering.cancel()
        self.leave()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=1.0)
