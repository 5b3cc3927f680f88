"""The keeper: watches over the workers of the open lines, and has their stages leased again when one is lost."""

import asyncio
import time
from collections import deque

import structlog

from services.gateway.knocking import Knocks
from services.gateway.lines import Lines, OpenLine
from services.gateway.losses import Judge, Reason
from services.gateway.takeover import Takeovers
from shared.bus import Bus

log = structlog.get_logger()

ROUND_S = 0.1
FAILURES = 3
"""A stage that cannot go on with one call more often than this within FAILURES_WITHIN_S ends it."""
FAILURES_WITHIN_S = 30.0


class Keeper:
    """Looks at every open line ten times a second."""

    def __init__(self, bus: Bus, lines: Lines, knocks: Knocks, judge: Judge, takeovers: Takeovers) -> None:
        """Nothing happens before `run`."""
        self._bus = bus
        self._lines = lines
        self._knocks = knocks
        self._judge = judge
        self._takeovers = takeovers
        self._under_way: dict[tuple[OpenLine, str], asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Keep until cancelled."""
        try:
            while True:
                self.round()
                await asyncio.sleep(ROUND_S)
        finally:
            self.stop()

    def stop(self) -> None:
        """Give up what is under way."""
        self._knocks.stop()
        for task in self._under_way.values():
            task.cancel()

    def round(self) -> None:
        """Look once, and begin what must be done."""
        if not self._bus.connected:
            return
        lines = self._lines.all()
        workers = {held.lease.worker: stage for opened in lines for stage, held in opened.held.items()}
        self._knocks.round(workers)
        # A worker is judged once for all its calls: there may be hundreds.
        sound = self._judge.sound(workers)
        for opened in lines:
            for stage, held in opened.held.items():
                if not self._judge.at_ease(held, sound):
                    self._look_at(opened, stage)

    def _look_at(self, opened: OpenLine, stage: str) -> None:
        if (opened, stage) in self._under_way or opened.line.closing:
            return
        reason = self._judge.reason(opened.held[stage], lambda: opened.line.quiet(stage))
        if reason is None:
            return
        if reason == "failed" and self._too_often(opened, stage):
            log.error("stage_failed", call_id=opened.record.call_id, stage=stage)
            opened.line.fail("stage_failed")
            return
        self._begin(opened, stage, reason)

    def _too_often(self, opened: OpenLine, stage: str) -> bool:
        now = time.monotonic()
        failures = opened.failures.setdefault(stage, deque(maxlen=FAILURES + 1))
        failures.append(now)
        return len(failures) > FAILURES and now - failures[0] <= FAILURES_WITHIN_S

    def _begin(self, opened: OpenLine, stage: str, reason: Reason) -> None:
        task = asyncio.create_task(self._takeovers.take(opened, stage, reason))
        self._under_way[opened, stage] = task
        task.add_done_callback(lambda task: self._finished(opened, stage, task))

    def _finished(self, opened: OpenLine, stage: str, task: asyncio.Task[None]) -> None:
        del self._under_way[opened, stage]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("takeover_failed", call_id=opened.record.call_id, stage=stage, exc_info=error)
            opened.line.fail("stage_lost")
