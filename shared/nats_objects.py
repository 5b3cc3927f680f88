"""The object store of the bus over JetStream (ADR-20 of NATS: chunks under `$O.<name>.C`, descriptions under `.M`)."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import ObjectInfo
from nats.js.errors import BadRequestError, BucketNotFoundError, NotFoundError
from nats.js.object_store import ObjectStore as Store

from shared.bus import MAX_OBJECT_BYTES, BusError, Disconnected, ObjectStore, RequestTimeout

_WAIT_S = 5.0


@asynccontextmanager
async def _asked(what: str) -> AsyncIterator[None]:
    """Wait no longer than `_WAIT_S`, and raise the bus's errors for those of the client."""
    try:
        async with asyncio.timeout(_WAIT_S):
            yield
    except TimeoutError as error:
        raise RequestTimeout(f"{what}: no answer in {_WAIT_S} s") from error
    except nats.errors.Error as error:
        raise Disconnected(f"{what}: {error!r}") from error


class NatsObjects:
    """One object store. What a put leaves behind that fails half-way goes when the store's ttl is over."""

    def __init__(self, name: str, store: Store, stream: JetStreamContext) -> None:
        """Use `open_objects`."""
        self._name = name
        self._store = store
        self._stream = stream

    async def get(self, key: str) -> bytes | None:
        async with _asked(key):
            missing = ""
            while (info := await self._described(key)) is not None and info.nuid != missing:
                try:
                    return await self._read(key, info)
                except NotFoundError:
                    # The chunks have expired, or a put has replaced them: then there is another description.
                    missing = info.nuid or ""
        return None

    async def _described(self, key: str) -> ObjectInfo | None:
        try:
            return await self._store.get_info(key)
        except NotFoundError:
            return None

    async def _read(self, key: str, info: ObjectInfo) -> bytes:
        """Chunk by chunk: the client's own `get` waits for ever for a chunk that is gone, and leaks its consumer."""
        value, sequence = b"", 1
        while len(value) < (info.size or 0):
            chunk = await self._stream.get_msg(
                f"OBJ_{self._name}", seq=sequence, subject=f"$O.{self._name}.C.{info.nuid}", next=True
            )
            value += chunk.data or b""
            sequence = (chunk.seq or sequence) + 1
        digest = base64.urlsafe_b64encode(sha256(value).digest()).decode()
        if (info.digest or "").partition("=")[2] != digest:
            raise BusError(f"{key}: the value is damaged")
        return value

    async def put(self, key: str, value: bytes) -> None:
        if len(value) > MAX_OBJECT_BYTES:
            raise BusError(f"{key}: {len(value)} bytes are more than an object may have")
        async with _asked(key):
            await self._store.put(key, value)


async def open_objects(stream: JetStreamContext, name: str, ttl_s: float) -> ObjectStore:
    """The store `name`, made if need be; one that exists keeps the settings it has. Raises BusError."""
    async with _asked(name):
        try:
            store = await stream.object_store(name)
        except BucketNotFoundError:
            try:
                store = await stream.create_object_store(name, ttl=ttl_s)
            except BadRequestError:
                # Another process made it in between, with another ttl.
                store = await stream.object_store(name)
    return NatsObjects(name, store, stream)
