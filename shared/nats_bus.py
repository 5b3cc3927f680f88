"""The bus over a real NATS server (nats-py, JetStream)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import nats
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StorageType, StreamConfig
from nats.js.errors import (
    BadRequestError,
    BucketNotFoundError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
    NoKeysError,
)
from nats.js.kv import KeyValue

from shared import subjects
from shared.bus import Bucket as BucketProtocol
from shared.bus import (
    BusError,
    Disconnected,
    Handler,
    NoResponders,
    ObjectStore,
    RequestTimeout,
    Responder,
    WrongRevision,
)
from shared.bus import Subscription as SubscriptionProtocol
from shared.nats_objects import open_objects

log = structlog.get_logger()

STREAM = "CALLS"
_KEEP_EVENTS_S = 7 * 24 * 3600
_RECORD_TRIES = 3


class _Subscription:
    def __init__(self, subscription: NatsSubscription, drop: Callable[[], None] = lambda: None) -> None:
        self._subscription = subscription
        self._drop = drop

    async def drain(self) -> None:
        self._drop()
        try:
            await self._subscription.drain()
        except nats.errors.Error as error:
            # The connection is gone, and the subscription with it.
            log.debug("subscription_gone", error=repr(error))


@contextmanager
def _translated(key: str) -> Iterator[None]:
    """Raise the bus's errors for those of the client."""
    try:
        yield
    except KeyWrongLastSequenceError as error:
        raise WrongRevision(key) from error
    except nats.errors.Error as error:
        raise Disconnected(f"{key}: {error!r}") from error


class _Bucket:
    def __init__(self, store: KeyValue) -> None:
        self._store = store

    async def get(self, key: str) -> tuple[bytes, int] | None:
        with _translated(key):
            try:
                entry = await self._store.get(key)
            except KeyNotFoundError:
                return None
        return entry.value or b"", entry.revision or 0

    async def put(self, key: str, value: bytes) -> int:
        with _translated(key):
            return await self._store.put(key, value)

    async def create(self, key: str, value: bytes) -> int:
        with _translated(key):
            return await self._store.create(key, value)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        with _translated(key):
            return await self._store.update(key, value, last=revision)

    async def delete(self, key: str) -> None:
        with _translated(key):
            await self._store.delete(key)

    async def keys(self) -> list[str]:
        with _translated("keys"):
            try:
                return await self._store.keys()
            except NoKeysError:
                return []


class NatsBus:
    """Two connections: one that buffers during a reconnect, and one for audio that does not."""

    def __init__(self, control: Client, audio: Client) -> None:
        """Use `connect`."""
        self._control = control
        self._audio = audio
        self._stream: JetStreamContext = control.jetstream()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        return self._control.is_connected and self._audio.is_connected

    async def publish(self, subject: str, payload: bytes) -> None:
        try:
            await self._control.publish(subject, payload)
        except nats.errors.Error as error:
            raise Disconnected(repr(error)) from error

    async def publish_audio(self, subject: str, payload: bytes) -> None:
        try:
            await self._audio.publish(subject, payload)
        except (nats.errors.OutboundBufferLimitError, nats.errors.ConnectionClosedError):
            return

    async def record(self, subject: str, payload: bytes) -> None:
        for attempt in range(_RECORD_TRIES):
            try:
                await self._stream.publish(subject, payload, timeout=2.0)
                return
            except nats.errors.Error as error:
                if attempt == _RECORD_TRIES - 1:
                    raise BusError(f"{subject} was not kept: {error!r}") from error

    async def subscribe(self, subject: str, handler: Handler) -> SubscriptionProtocol:
        return await self._subscribe(self._control, subject, handler)

    async def subscribe_audio(self, subject: str, handler: Handler) -> SubscriptionProtocol:
        return await self._subscribe(self._audio, subject, handler)

    async def _subscribe(self, client: Client, subject: str, handler: Handler) -> _Subscription:
        async def receive(message: Msg) -> None:
            await handler(message.subject, message.data)

        return _Subscription(await client.subscribe(subject, cb=receive))

    async def respond(self, subject: str, responder: Responder, *, queue: str) -> SubscriptionProtocol:
        async def answer(message: Msg) -> None:
            await self._control.publish(message.reply, await responder(message.data))

        async def receive(message: Msg) -> None:
            task = asyncio.create_task(answer(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return _Subscription(await self._control.subscribe(subject, queue=queue, cb=receive))

    async def request(self, subject: str, payload: bytes, timeout: float) -> bytes:
        try:
            return (await self._control.request(subject, payload, timeout=timeout)).data
        except nats.errors.NoRespondersError as error:
            raise NoResponders(subject) from error
        except nats.errors.TimeoutError as error:
            raise RequestTimeout(f"{subject}: no answer in {timeout} s") from error
        except nats.errors.Error as error:
            raise Disconnected(repr(error)) from error

    async def flush(self) -> None:
        await asyncio.gather(self._control.flush(), self._audio.flush())

    async def bucket(self, name: str, ttl_s: float) -> BucketProtocol:
        with _translated(name):
            try:
                return _Bucket(await self._stream.key_value(name))
            except BucketNotFoundError:
                pass
            try:
                return _Bucket(await self._stream.create_key_value(bucket=name, ttl=ttl_s))
            except BadRequestError:
                # Another process made it in between.
                return _Bucket(await self._stream.key_value(name))

    async def objects(self, name: str, ttl_s: float) -> ObjectStore:
        return await open_objects(self._stream, name, ttl_s)

    async def close(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2.0)
        for client in (self._audio, self._control):
            if not client.is_closed:
                await client.drain()


async def _report(error: Exception) -> None:
    log.warning("bus_error", error=repr(error))


async def _client(url: str, name: str, **options: int) -> Client:
    client = Client()

    async def leave_lame_duck() -> None:
        log.info("bus_lame_duck")
        await client.force_reconnect()

    async def lost() -> None:
        if not (client.is_draining or client.is_closed):
            log.warning("bus_disconnected")

    async def back() -> None:
        log.info("bus_reconnected")

    await client.connect(
        url.split(","),
        name=name,
        error_cb=_report,
        disconnected_cb=lost,
        reconnected_cb=back,
        lame_duck_mode_cb=leave_lame_duck,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.1,  # type: ignore[arg-type]  # any number of seconds; annotated int
        ping_interval=5,
        max_outstanding_pings=2,
        connect_timeout=1,
        **options,  # type: ignore[arg-type]
    )
    return client


async def connect(url: str, name: str, on_wait: Callable[[str], Awaitable[None]] | None = None) -> NatsBus:
    """Connect to the servers of `url` (comma-separated), waiting for them as long as it takes.

    `on_wait` is called with the reason each second that no server answers.
    """
    while True:
        clients: list[Client] = []
        try:
            clients.append(await asyncio.wait_for(_client(url, name), 5))
            clients.append(await asyncio.wait_for(_client(url, f"{name} audio", pending_size=0), 5))
            bus = NatsBus(*clients)
            await _ensure_stream(bus._stream)
            return bus
        except (OSError, TimeoutError, nats.errors.Error) as error:
            for client in clients:
                await client.close()
            if on_wait is not None:
                await on_wait(repr(error))
            await asyncio.sleep(1)


async def _ensure_stream(stream: JetStreamContext) -> None:
    config = StreamConfig(
        name=STREAM,
        subjects=[subjects.EVENTS],
        max_age=_KEEP_EVENTS_S,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
    )
    try:
        await stream.add_stream(config)
    except BadRequestError:
        # It exists with settings of its operator's own.
        await stream.stream_info(STREAM)
