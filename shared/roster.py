"""Who lives: the workers whose heartbeats were heard."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from pydantic import ValidationError

from shared import subjects
from shared.bus import Bus
from shared.messages.worker import Heartbeat

log = structlog.get_logger()

DEAD_AFTER_S = 1.5
"""Workers beat every 0.4 s; three missed beats and some jitter mean dead."""


@dataclass(slots=True)
class Seen:
    """A worker's last heartbeat."""

    beat: Heartbeat
    at: float


class Roster:
    """All workers by id, fed by their heartbeats."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Empty until `listen`."""
        self._clock = clock
        self._seen: dict[str, Seen] = {}

    async def listen(self, bus: Bus) -> None:
        """Hear every worker's heartbeats from now on."""
        await bus.subscribe(subjects.HEARTBEATS, self._receive)

    async def _receive(self, subject: str, payload: bytes) -> None:
        try:
            self.note(Heartbeat.model_validate_json(payload))
        except ValidationError:
            log.warning("heartbeat_dropped", subject=subject)

    def note(self, beat: Heartbeat) -> None:
        """A heartbeat was heard now."""
        self._seen[beat.worker] = Seen(beat, self._clock())

    def silent_s(self, worker: str) -> float | None:
        """For how long `worker` has said nothing; None when it was never heard or was forgotten."""
        seen = self._seen.get(worker)
        return None if seen is None else self._clock() - seen.at

    def alive(self, stage: str) -> list[Heartbeat]:
        """The last heartbeats of the stage's workers that live."""
        oldest = self._clock() - DEAD_AFTER_S
        return [seen.beat for seen in self._seen.values() if seen.beat.stage == stage and seen.at >= oldest]

    def forget(self, older_than_s: float) -> list[str]:
        """Drop, and return, the workers that were silent for longer than `older_than_s`."""
        oldest = self._clock() - older_than_s
        gone = [worker for worker, seen in self._seen.items() if seen.at < oldest]
        for worker in gone:
            del self._seen[worker]
        return gone
