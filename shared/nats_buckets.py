"""A key-value bucket of the bus over JetStream (ADR-8 of NATS), one that outlives the loss of a node."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import Header, RawStreamMsg
from nats.js.errors import APIError, NotFoundError

from shared.bus import BusError, Disconnected, WrongRevision
from shared.nats_retry import Outdated, once, until_answered

_LEADER_S = 0.3
"""How long a read waits for the leader's answer before it asks any replica."""
_DOUBTS = 6
"""How often a refusal is not believed that does not fit what is read: for a second or two."""
_WRONG_LAST_SEQUENCE = (10071, 10164)
_STREAM_NOT_FOUND = 10059
_OPERATION = "KV-Operation"
_MARKER = "Nats-Marker-Reason"
_KEY = re.compile(r"[-/_=a-zA-Z0-9]+(\.[-/_=a-zA-Z0-9]+)*")


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise the bus's errors for those of the client."""
    try:
        yield
    except (nats.errors.Error, TimeoutError) as error:
        raise Disconnected(f"{what}: {error!r}") from error


class NatsBucket:
    """One bucket. What has no answer is asked again for some seconds; a write is done once all the same."""

    def __init__(self, stream: JetStreamContext, name: str) -> None:
        """The bucket must exist."""
        self._stream = stream
        self._kept_in = f"KV_{name}"
        self._prefix = f"$KV.{name}."

    def _subject(self, key: str) -> str:
        if not _KEY.fullmatch(key):
            raise BusError(f"not a key: {key!r}")
        return self._prefix + key

    async def get(self, key: str) -> tuple[bytes, int] | None:
        entry = await self._newest(key)
        return None if entry is None or _deleted(entry) else (entry.data or b"", entry.seq or 0)

    async def _newest(self, key: str) -> RawStreamMsg | None:
        subject = self._subject(key)

        async def ask(attempt: int) -> RawStreamMsg:
            # Only the leader knows what was written last; while there is none, what any replica has must do.
            # A write that follows from it is compare-and-set, and so refused if it was not the newest.
            return await self._stream.get_msg(self._kept_in, subject=subject, direct=attempt % 2 == 1)

        with translated(key):
            try:
                return await until_answered(key, ask, _LEADER_S)
            except NotFoundError as error:
                if error.err_code == _STREAM_NOT_FOUND:
                    raise
                return None

    async def put(self, key: str, value: bytes) -> int:
        return await self._write(key, value, {})

    async def create(self, key: str, value: bytes) -> int:
        try:
            return await self.update(key, value, 0)
        except WrongRevision:
            entry = await self._newest(key)
            if entry is None or not _deleted(entry):
                raise
            return await self.update(key, value, entry.seq or 0)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        return await self._write(key, value, {Header.EXPECTED_LAST_SUBJECT_SEQUENCE: str(revision)}, revision)

    async def delete(self, key: str) -> None:
        await self._write(key, b"", {_OPERATION: "DEL"})

    async def _write(self, key: str, value: bytes, headers: dict[str, str], revision: int = 0) -> int:
        subject, headers = self._subject(key), {**headers, **once()}

        async def ask(attempt: int) -> int:
            try:
                return (await self._stream.publish(subject, value, headers=headers)).seq
            except APIError as error:
                if error.err_code not in _WRONG_LAST_SEQUENCE:
                    raise
            return await self._written(key, headers[Header.MSG_ID], revision, doubt=attempt < _DOUBTS)

        with translated(key):
            return await until_answered(key, ask)

    async def _written(self, key: str, number: str, revision: int, *, doubt: bool) -> int:
        """The revision that the message `number` got although a server refused it.

        A server that was the leader, hung and came back refuses by what it knew, while the leader of today takes the
        same message. Raises Outdated when that may be so, and WrongRevision when the key has really changed.
        """
        entry = await self._newest(key)
        found = 0 if entry is None else entry.seq or 0
        if entry is not None and (entry.headers or {}).get(Header.MSG_ID) == number:
            return found
        if doubt and (entry is not None or revision == 0) and found <= revision:
            raise Outdated(key)
        raise WrongRevision(key)

    async def keys(self) -> list[str]:
        async def ask(attempt: int) -> list[str]:
            # Not by a consumer: whoever may make one has the broker publish on any subject.
            info = await self._stream.stream_info(self._kept_in, subjects_filter=f"{self._prefix}>")
            return [subject.removeprefix(self._prefix) for subject in info.state.subjects or {}]

        with translated("keys"):
            named = await until_answered("keys", ask)
        entries = await asyncio.gather(*(self._newest(key) for key in named))
        return [key for key, entry in zip(named, entries, strict=True) if entry is not None and not _deleted(entry)]


def _deleted(entry: RawStreamMsg) -> bool:
    headers = entry.headers or {}
    return headers.get(_OPERATION) in ("DEL", "PURGE") or _MARKER in headers
