"""The bus within one process, for tests without I/O. Same contract as the real one."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from shared.bus import (
    MAX_OBJECT_BYTES,
    AudioHandler,
    Bucket,
    BusError,
    Handler,
    NoResponders,
    ObjectStore,
    RequestTimeout,
    Responder,
    Subscription,
    WrongRevision,
)

log = structlog.get_logger()


def matches(pattern: str, subject: str) -> bool:
    """Whether a NATS pattern (`*` one token, `>` the rest) covers `subject`."""
    wanted, given = pattern.split("."), subject.split(".")
    for index, token in enumerate(wanted):
        if token == ">":
            return len(given) > index
        if index >= len(given) or token not in ("*", given[index]):
            return False
    return len(wanted) == len(given)


@dataclass(eq=False)
class _Listener:
    bus: "MemoryBus"
    pattern: str
    handler: Handler
    queue: asyncio.Queue[tuple[str, bytes] | None] = field(default_factory=asyncio.Queue)
    task: "asyncio.Task[None] | None" = None

    async def run(self) -> None:
        while (message := await self.queue.get()) is not None:
            await self.handler(*message)
            self.queue.task_done()
        self.queue.task_done()

    async def drain(self) -> None:
        if self in self.bus.listeners:
            self.bus.listeners.remove(self)
            self.queue.put_nowait(None)


@dataclass(eq=False)
class _Responder:
    bus: "MemoryBus"
    pattern: str
    queue: str
    responder: Responder

    async def drain(self) -> None:
        if self in self.bus.responders:
            self.bus.responders.remove(self)


class _MemoryBucket:
    def __init__(self, told: Callable[[str, bytes], None]) -> None:
        self._told = told
        self._values: dict[str, tuple[bytes, int]] = {}
        self._revision = 0

    async def get(self, key: str) -> tuple[bytes, int] | None:
        return self._values.get(key)

    async def put(self, key: str, value: bytes) -> int:
        self._revision += 1
        self._values[key] = (value, self._revision)
        self._told(key, value)
        return self._revision

    async def create(self, key: str, value: bytes) -> int:
        return await self.update(key, value, 0)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        if self._values.get(key, (b"", 0))[1] != revision:
            raise WrongRevision(key)
        return await self.put(key, value)

    async def delete(self, key: str) -> None:
        self._revision += 1
        self._values.pop(key, None)
        self._told(key, b"")

    async def keys(self) -> list[str]:
        return list(self._values)


class _MemoryObjects:
    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        return self._values.get(key)

    async def put(self, key: str, value: bytes) -> None:
        if len(value) > MAX_OBJECT_BYTES:
            raise BusError(f"{key}: {len(value)} bytes are more than an object may have")
        self._values[key] = value


class MemoryBus:
    """Keeps what was published in `published`, so that a test can look."""

    def __init__(self) -> None:
        """An empty bus, connected."""
        self.published: list[tuple[str, bytes]] = []
        self.listeners: list[_Listener] = []
        self.responders: list[_Responder] = []
        self._buckets: dict[str, _MemoryBucket] = {}
        self._objects: dict[str, _MemoryObjects] = {}
        self.connected = True
        self.gaps = 0

    async def publish(self, subject: str, payload: bytes) -> None:
        self.published.append((subject, payload))
        self._deliver(subject, payload)

    def _deliver(self, subject: str, payload: bytes) -> None:
        for listener in self.listeners:
            if matches(listener.pattern, subject):
                listener.queue.put_nowait((subject, payload))

    async def publish_audio(self, subject: str, payload: bytes) -> None:
        if self.connected:
            await self.publish(subject, payload)

    async def record(self, subject: str, payload: bytes) -> None:
        await self.publish(subject, payload)

    async def subscribe(self, subject: str, handler: Handler) -> Subscription:
        listener = _Listener(self, subject, handler)
        listener.task = asyncio.create_task(listener.run())
        self.listeners.append(listener)
        return listener

    async def subscribe_audio(self, subject: str, handler: AudioHandler) -> Subscription:
        async def receive(subject: str, payload: bytes) -> None:
            try:
                handler(subject, payload)
            except Exception as error:
                log.error("handler_failed", subject=subject, exc_info=error)

        return await self.subscribe(subject, receive)

    async def respond(self, subject: str, responder: Responder, *, queue: str) -> Subscription:
        entry = _Responder(self, subject, queue, responder)
        self.responders.append(entry)
        return entry

    async def request(self, subject: str, payload: bytes, timeout: float) -> bytes:
        able = [entry for entry in self.responders if matches(entry.pattern, subject)]
        if not able:
            raise NoResponders(subject)
        try:
            return await asyncio.wait_for(random.choice(able).responder(payload), timeout)
        except TimeoutError as error:
            raise RequestTimeout(subject) from error

    async def settle(self) -> None:
        """Return when every message published so far, and what its handlers published, was handled."""
        busy = True
        while busy:
            busy = any(listener.queue._unfinished_tasks for listener in self.listeners)  # type: ignore[attr-defined]
            await asyncio.gather(*(listener.queue.join() for listener in self.listeners))

    async def flush(self) -> None:
        return None

    async def bucket(self, name: str, ttl_s: float) -> Bucket:
        def told(key: str, value: bytes) -> None:
            self._deliver(f"$KV.{name}.{key}", value)

        return self._buckets.setdefault(name, _MemoryBucket(told))

    async def objects(self, name: str, ttl_s: float) -> ObjectStore:
        return self._objects.setdefault(name, _MemoryObjects())

    async def close(self) -> None:
        self.connected = False
        for listener in list(self.listeners):
            await listener.drain()
