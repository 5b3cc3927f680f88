"""Calls whose gateway died, and whose carrier has not come back."""

import time
from collections.abc import Callable
from functools import partial

import structlog

from services.gateway.calls import CallRecord, CallStore
from services.gateway.endings import REDIAL_WITHIN_S, Endings
from services.gateway.fellows import Fellows

log = structlog.get_logger()


class Orphans:
    """Ends them once the carrier has had its time to ask another gateway."""

    def __init__(
        self, fellows: Fellows, store: CallStore, endings: Endings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """The records of the calls are read once after the start, and when a gateway is lost."""
        self._fellows = fellows
        self._store = store
        self._endings = endings
        self._clock = clock
        self._known: set[str] = set()
        self._hearing_since: float | None = None
        self._looked = False

    def check(self) -> None:
        """Run with every heartbeat."""
        if not self._fellows.hears_itself():
            # It is the broker that is away: all are silent, and each has its time again when it is back.
            self._hearing_since = None
            return
        if self._hearing_since is None:
            self._hearing_since = self._clock()
        self._known |= self._fellows.alive()
        if self._clock() - self._hearing_since <= REDIAL_WITHIN_S:
            return
        lost = {gateway for gateway in self._known if self._lost(gateway)}
        self._known -= lost
        if lost or not self._looked:
            self._looked = True
            for gateway in lost:
                log.info("gateway_gone", gone=gateway)
            self._endings.spawn(self._endings.surely("", self.end_all))

    def _lost(self, gateway: str) -> bool:
        silent_s = self._fellows.silent_s(gateway)
        return gateway != self._fellows.gateway and (silent_s is None or silent_s > REDIAL_WITHIN_S)

    async def end_all(self) -> None:
        """End the calls of every gateway that is lost. Raises BusError."""
        for record in await self._store.live():
            if self._lost(record.gateway):
                await self._endings.end(record.call_id, "carrier_lost", partial(_unadopted, record))


def _unadopted(was: CallRecord, now: CallRecord) -> bool:
    return (now.gateway, now.line, now.token_sha256) == (was.gateway, was.line, was.token_sha256)
