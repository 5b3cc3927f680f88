"""The object store of the bus over JetStream (ADR-20 of NATS: chunks under `$O.<name>.C`, descriptions under `.M`)."""

import base64
from hashlib import sha256

from nats.js import JetStreamContext
from nats.js.api import ObjectInfo, RawStreamMsg
from nats.js.errors import NotFoundError
from nats.js.object_store import ObjectStore as Store

from shared.bus import MAX_OBJECT_BYTES, BusError
from shared.nats_buckets import translated
from shared.nats_retry import until_answered

_PUT_S = 5.0


class NatsObjects:
    """One object store. What a put leaves behind that fails half-way goes when the store's ttl is over."""

    def __init__(self, stream: JetStreamContext, name: str) -> None:
        """The store must exist."""
        self._name = name
        self._kept_in = f"OBJ_{name}"
        self._store = Store(name, self._kept_in, stream)
        self._stream = stream

    async def get(self, key: str) -> bytes | None:
        with translated(key):
            missing = ""
            while (info := await self._described(key)) is not None and info.nuid != missing:
                try:
                    return await self._read(key, info)
                except NotFoundError:
                    # The chunks have expired, or a put has replaced them: then there is another description.
                    missing = info.nuid or ""
        return None

    async def _described(self, key: str) -> ObjectInfo | None:
        async def ask(attempt: int) -> ObjectInfo:
            return await self._store.get_info(key)

        try:
            return await until_answered(key, ask)
        except NotFoundError:
            return None

    async def _read(self, key: str, info: ObjectInfo) -> bytes:
        """Chunk by chunk: the client's own `get` waits for ever for a chunk that is gone, and leaks its consumer."""
        value, sequence = b"", 1
        while len(value) < (info.size or 0):
            chunk = await self._chunk(info, sequence)
            value += chunk.data or b""
            sequence = (chunk.seq or sequence) + 1
        digest = base64.urlsafe_b64encode(sha256(value).digest()).decode()
        if (info.digest or "").partition("=")[2] != digest:
            raise BusError(f"{key}: the value is damaged")
        return value

    async def _chunk(self, info: ObjectInfo, sequence: int) -> RawStreamMsg:
        """The first chunk from `sequence` on."""
        subject = f"$O.{self._name}.C.{info.nuid}"

        async def ask(attempt: int) -> RawStreamMsg:
            return await self._stream.get_msg(self._kept_in, seq=sequence, subject=subject, next=True)

        return await until_answered(subject, ask)

    async def put(self, key: str, value: bytes) -> None:
        if len(value) > MAX_OBJECT_BYTES:
            raise BusError(f"{key}: {len(value)} bytes are more than an object may have")

        async def ask(attempt: int) -> None:
            # Each attempt writes chunks of its own, so that the value is one attempt's whole.
            await self._store.put(key, value)

        with translated(key):
            await until_answered(key, ask, _PUT_S)
