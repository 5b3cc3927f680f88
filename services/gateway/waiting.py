"""The fleet's waiting list: who came first, and who may try to get a worker. Pure, with the time passed in."""

from collections.abc import Callable

from pydantic import BaseModel, ConfigDict

GONE_AFTER_S = 15.0
"""A caller who has not asked for this long has hung up; the carrier asks every few seconds."""


class Waiter(BaseModel):
    """A caller in the list. Times are Unix seconds, since every gateway writes them."""

    model_config = ConfigDict(frozen=True)

    call_id: str
    pipeline: str
    """The stages that the call needs: who waits for one worker does not wait behind who waits for another."""
    joined_at: float
    seen_at: float
    told: int = 0
    """The position that the caller was told last; 0: none yet."""


class WaitingList(BaseModel):
    """Those who wait, first come first."""

    model_config = ConfigDict(frozen=True)

    waiters: tuple[Waiter, ...] = ()

    def get(self, call_id: str) -> Waiter | None:
        """The call's place in the list."""
        return next((waiter for waiter in self.waiters if waiter.call_id == call_id), None)

    def present(self, now: float) -> "WaitingList":
        """Without those who have gone."""
        return self._keep(lambda waiter: now - waiter.seen_at <= GONE_AFTER_S)

    def without(self, call_id: str) -> "WaitingList":
        """Without one call."""
        return self._keep(lambda waiter: waiter.call_id != call_id)

    def seen(self, call_id: str, pipeline: str, now: float) -> "WaitingList":
        """The call asks: it keeps its place, or takes the last one."""
        if self.get(call_id) is None:
            joined = Waiter(call_id=call_id, pipeline=pipeline, joined_at=now, seen_at=now)
            return WaitingList(waiters=(*self.waiters, joined))
        return self._change(call_id, {"seen_at": now})

    def tell(self, call_id: str) -> "WaitingList":
        """The call is told its position."""
        return self._change(call_id, {"told": self.position(call_id)})

    def position(self, call_id: str) -> int:
        """Counted from 1 among the calls with the same pipeline. Raises KeyError for a call that does not wait."""
        waiter = self.get(call_id)
        if waiter is None:
            raise KeyError(call_id)
        return 1 + self.before(call_id, waiter.pipeline)

    def before(self, call_id: str, pipeline: str) -> int:
        """How many with the same pipeline came before the call, which need not be in the list."""
        calls = [waiter.call_id for waiter in self.waiters if waiter.pipeline == pipeline]
        return calls.index(call_id) if call_id in calls else len(calls)

    def may_try(self, call_id: str, pipeline: str, free: int) -> bool:
        """Whether the call may ask for workers that have `free` places: as many may as there are places.

        The first one always may: heartbeats tell of a place only after it has become free.
        """
        return self.before(call_id, pipeline) < max(1, free)

    def _keep(self, wanted: Callable[[Waiter], bool]) -> "WaitingList":
        kept = tuple(waiter for waiter in self.waiters if wanted(waiter))
        return self if len(kept) == len(self.waiters) else WaitingList(waiters=kept)

    def _change(self, call_id: str, update: dict[str, object]) -> "WaitingList":
        return WaitingList(
            waiters=tuple(
                waiter.model_copy(update=update) if waiter.call_id == call_id else waiter for waiter in self.waiters
            )
        )
