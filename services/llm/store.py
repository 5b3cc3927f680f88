"""Where a call's dialogue is kept, so that another worker can go on with it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import structlog
from prometheus_client import Counter

from services.llm.record import Record
from shared.bus import Bucket, BusError, WrongRevision

log = structlog.get_logger()

BUCKET = "dialogues"
KEEP_S = 24 * 3600
_RETRY_S = (0.1, 0.2, 0.5, 1.0)
"""The waits between two tries; the last one again and again."""
_SAVES_FAILED = Counter("trunkline_dialogue_saves_failed_total", "Saves of a dialogue that failed, to be tried again")


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Record)


class Superseded(Exception):
    """A newer lease has the dialogue."""


class MemoryStore:
    """Keeps one call's dialogue in the bucket for the worker of one lease; one that is newer takes it away."""

    def __init__(
        self,
        bucket: Bucket,
        call_id: str,
        epoch: int,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        """`epoch` is the number of the lease; `spawn` runs the saving beside the call."""
        self.superseded: Callable[[], None] = lambda: None
        """Called once when a newer lease has the dialogue: nothing more is saved."""
        self._bucket = bucket
        self._call_id = call_id
        self._epoch = epoch
        self._spawn = spawn
        self._revision = 0
        self._unsaved: Record | None = None
        self._saving: asyncio.Task[None] | None = None
        self._left = False

    async def load(self) -> Record:
        """The dialogue so far, from now on this lease's alone, or one that was not begun.

        Raises Superseded, or BusError when it cannot be known.
        """
        while (found := await self._bucket.get(self._call_id)) is not None:
            record, revision = self._read(found[0]), found[1]
            if record.epoch > self._epoch:
                raise Superseded
            record.epoch = self._epoch
            try:
                self._revision = await self._bucket.update(self._call_id, _ENCODER.encode(record), revision)
            except WrongRevision:
                # The worker before has saved in between.
                continue
            return record
        return Record(epoch=self._epoch)

    def _read(self, value: bytes) -> Record:
        try:
            return _DECODER.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BusError(f"the dialogue of {self._call_id} cannot be read") from error

    def save(self, record: Record) -> None:
        """Keep `record` as it is when it is written: a moment later, or when a broker that is slow or away is back."""
        if self._left:
            return
        self._unsaved = record
        if self._saving is None or self._saving.done():
            self._saving = self._spawn(self._write())

    async def _write(self) -> None:
        failures = 0
        while (record := self._unsaved) is not None and not self._left:
            self._unsaved = None
            try:
                self._revision = await self._put(_ENCODER.encode(record))
            except WrongRevision:
                self._unsaved = self._unsaved or record
                await self._reload()
            except BusError as error:
                self._unsaved = self._unsaved or record
                _SAVES_FAILED.inc()
                log.warning("dialogue_not_saved", call_id=self._call_id, error=str(error))
                await asyncio.sleep(_RETRY_S[min(failures, len(_RETRY_S) - 1)])
                failures += 1
            else:
                failures = 0

    async def _put(self, value: bytes) -> int:
        if self._revision:
            return await self._bucket.update(self._call_id, value, self._revision)
        return await self._bucket.create(self._call_id, value)

    async def _reload(self) -> None:
        """Another has the key, or the call has ended, or this worker's own save went unconfirmed."""
        try:
            found = await self._bucket.get(self._call_id)
            newest = None if found is None else self._read(found[0])
        except BusError:
            # The next try tells.
            return
        if found is not None and newest is not None and newest.epoch <= self._epoch:
            self._revision = found[1]
        elif not self._left:
            self._left = True
            log.warning("dialogue_superseded", call_id=self._call_id, epoch=self._epoch)
            self.superseded()

    async def forget(self) -> None:
        """The call has ended: nobody will go on with it."""
        self._left = True
        if not self._revision:
            return
        try:
            await self._bucket.delete(self._call_id)
        except BusError as error:
            # It goes by itself after KEEP_S.
            log.warning("dialogue_not_deleted", call_id=self._call_id, error=str(error))

    async def close(self, timeout_s: float) -> None:
        """Wait for the last save, but not longer than `timeout_s`."""
        if self._saving is not None:
            await asyncio.wait((self._saving,), timeout=timeout_s)
