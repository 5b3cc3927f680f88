"""The live calls, kept in the key-value bucket `calls` so that any gateway can go on with them."""

import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict

from shared.agents import AgentProfile
from shared.bus import Bucket, Bus, WrongRevision

BUCKET = "calls"
TTL_S = 120.0
"""A call's record lives this long after its gateway last touched it."""
_TRIES = 5


class Lease(BaseModel):
    """A worker's lease on the call."""

    model_config = ConfigDict(frozen=True)

    worker: str
    epoch: int
    gaps: int | None = None
    """How often the worker had lost the broker by then; None: not known."""


class CallRecord(BaseModel):
    """All that a gateway must know to go on with a call."""

    model_config = ConfigDict(frozen=True)

    call_id: str
    caller: str
    dialled: str
    profile: AgentProfile
    state: Literal["ringing", "live", "ended"] = "ringing"
    gateway: str
    """The gateway that owns the line, or has answered for the next one."""
    line: int = 0
    """The number of the line, the epoch of all that the gateway says in this call."""
    token_sha256: str = ""
    """The hash of the media token; empty once it was used."""
    leases: dict[str, Lease] = {}
    started_at: float
    """Unix time in seconds of the first webhook."""


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class CallStore:
    """Reads and changes the records; changes are compare-and-set."""

    def __init__(self, bucket: Bucket) -> None:
        """Use `open`."""
        self._bucket = bucket

    @classmethod
    async def open(cls, bus: Bus) -> "CallStore":
        """The store in the broker's bucket."""
        return cls(await bus.bucket(BUCKET, TTL_S))

    async def get(self, call_id: str) -> CallRecord | None:
        """The record, or None when the call is unknown or long over."""
        entry = await self._bucket.get(call_id)
        return None if entry is None else CallRecord.model_validate_json(entry[0])

    async def create(self, record: CallRecord) -> bool:
        """Keep a new call; False when it exists already."""
        try:
            await self._bucket.create(record.call_id, record.model_dump_json().encode())
        except WrongRevision:
            return False
        return True

    async def change(self, call_id: str, change: Callable[[CallRecord], CallRecord | None]) -> CallRecord | None:
        """Apply `change` to the newest record and keep the result; None when there is none or `change` refuses.

        `change` may run more than once: it must be pure.
        """
        for _ in range(_TRIES):
            entry = await self._bucket.get(call_id)
            changed = None if entry is None else change(CallRecord.model_validate_json(entry[0]))
            if entry is None or changed is None:
                return None
            try:
                await self._bucket.update(call_id, changed.model_dump_json().encode(), entry[1])
            except WrongRevision:
                continue
            return changed
        raise WrongRevision(call_id)

    async def issue_token(self, call_id: str, gateway: str) -> str | None:
        """A new one-use media token for the call; the one before it is void. None when the call is over.

        `gateway` answers for the call until its line is open.
        """
        token = secrets.token_urlsafe(24)

        def keep(record: CallRecord) -> CallRecord | None:
            if record.state == "ended":
                return None
            return record.model_copy(update={"token_sha256": _hash(token), "gateway": gateway})

        return token if await self.change(call_id, keep) else None

    async def redeem_token(self, call_id: str, token: str, gateway: str) -> CallRecord | None:
        """Make `gateway` the owner of the call's next line if `token` is right and unused, else None."""

        def take(record: CallRecord) -> CallRecord | None:
            right = bool(record.token_sha256) and hmac.compare_digest(record.token_sha256, _hash(token))
            if record.state == "ended" or not right:
                return None
            return record.model_copy(
                update={"token_sha256": "", "state": "live", "gateway": gateway, "line": record.line + 1}
            )

        return await self.change(call_id, take)

    async def forget(self, call_id: str) -> None:
        """The call was never taken: nothing is known of it when it rings again."""
        await self._bucket.delete(call_id)

    async def touch(self, call_id: str) -> None:
        """Keep the record alive for another while."""
        entry = await self._bucket.get(call_id)
        if entry is not None:
            # Whoever has changed it in between has kept it alive.
            with contextlib.suppress(WrongRevision):
                await self._bucket.update(call_id, *entry)

    async def live(self) -> list[CallRecord]:
        """All calls that are not over, oldest first."""
        records = [await self.get(key) for key in await self._bucket.keys()]
        calls = [record for record in records if record is not None and record.state != "ended"]
        return sorted(calls, key=lambda record: record.started_at)
