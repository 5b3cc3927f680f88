"""A call as one stage holds it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from shared.agents import AgentProfile
from shared.bus import BusError
from shared.channel import CallChannel
from shared.messages import ErrorHappened, UsageCounted

log = structlog.get_logger()


class Call:
    """What a session may use: the agent's profile, the call's channel, and tasks that end with it."""

    def __init__(self, profile: AgentProfile, channel: CallChannel, line: int = 0, line_opened_at: float = 0.0) -> None:
        """`channel` belongs to this call from now on."""
        self.id = channel.call_id
        self.profile = profile
        self.channel = channel
        self.line = line
        """The number of the line that was open when the stage was leased; 0: none was, the call begins."""
        self.line_opened_at = line_opened_at
        """Unix time in seconds of the beginning of the caller's timeline on that line."""
        self.failed: Callable[[], None] | None = None
        """Called once when the session cannot go on."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = False
        channel.on_failure = self.fail

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` beside the call. If it raises, the session has failed; it is cancelled with the call."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """The stage cannot go on with this call: say so once, so that the caller hears a sentence."""
        if self._over:
            return
        self._over = True
        log.error("session_failed", call_id=self.id, stage=self.channel.stage, error=repr(error), exc_info=error)
        self._tasks.add(task := asyncio.create_task(self._report(f"{type(error).__name__}: {error}")))
        task.add_done_callback(self._tasks.discard)

    async def _report(self, error: str) -> None:
        try:
            await self.channel.send(ErrorHappened(error=error[:500], fatal=True))
        except BusError as unsent:
            log.error("error_not_recorded", call_id=self.id, error=str(unsent))
        if self.failed is not None:
            self.failed()

    async def count(self, provider: str, model: str, **amounts: float) -> None:
        """Record what a provider was used for (`audio_s`, `input_tokens`, `characters`, …)."""
        try:
            await self.channel.send(UsageCounted(provider=provider, model=model, amounts=amounts))
        except BusError as error:
            log.error("usage_not_recorded", call_id=self.id, error=str(error), **amounts)

    async def close(self) -> None:
        """Stop listening and end the tasks."""
        self._over = True
        await self.channel.close()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
