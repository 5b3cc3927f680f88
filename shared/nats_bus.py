"""The bus over a real NATS server (nats-py, JetStream)."""

import asyncio
from collections.abc import Awaitable, Callable

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription
from nats.js import JetStreamContext

from shared import nats_stores
from shared.bus import (
    AudioHandler,
    Bucket,
    Disconnected,
    Handler,
    NoResponders,
    ObjectStore,
    RequestTimeout,
    Responder,
    Subscription,
)
from shared.nats_buckets import NatsBucket, translated
from shared.nats_connection import Broker, explained, open_client
from shared.nats_inlet import Inlet
from shared.nats_objects import NatsObjects
from shared.nats_outlet import Outlet
from shared.nats_retry import ATTEMPT_S, Repeats, once, until_answered

log = structlog.get_logger()


class _Subscription:
    def __init__(self, subscription: NatsSubscription) -> None:
        self._subscription = subscription

    async def drain(self) -> None:
        try:
            await self._subscription.drain()
        except nats.errors.Error as error:
            # The connection is gone, and the subscription with it.
            log.debug("subscription_gone", error=repr(error))


class NatsBus:
    """Two connections: one that buffers during a reconnect, and one for audio that does not."""

    def __init__(self, broker: Broker) -> None:
        """Use `connect`."""
        self.gaps = 0
        self._broker = broker
        self._whole = True
        self._tasks: set[asyncio.Task[None]] = set()
        self._control: Client
        self._audio: Client
        self._inlet: Inlet
        self._outlet: Outlet
        self._stream: JetStreamContext

    async def open(self, name: str) -> None:
        """Connect, and see that the broker keeps what it must. Raises OSError, TimeoutError, nats.errors.Error."""
        self._control = await open_client(self._broker, name, self._lost, self._back)
        try:
            self._audio = await open_client(self._broker, f"{name} audio", self._lost, self._back, pending_size=0)
        except BaseException:
            await self._control.close()
            raise
        self._inlet, self._outlet = Inlet(self._audio), Outlet(self._audio)
        self._stream = self._control.jetstream(timeout=ATTEMPT_S)
        try:
            await nats_stores.ensure(self._stream, makes=self._broker.makes_stores, replicas=self._broker.replicas)
        except BaseException:
            await self._audio.close()
            await self._control.close()
            raise

    @property
    def connected(self) -> bool:
        return self._control.is_connected and self._audio.is_connected

    def _lost(self) -> None:
        self._whole = False

    def _back(self) -> None:
        # A server that dies takes both connections: that is one gap, and it is over when both are back.
        if self.connected and not self._whole:
            self._whole = True
            self.gaps += 1

    async def publish(self, subject: str, payload: bytes) -> None:
        try:
            await self._control.publish(subject, payload)
        except nats.errors.Error as error:
            raise Disconnected(repr(error)) from error

    async def publish_audio(self, subject: str, payload: bytes) -> None:
        self._outlet.publish(subject, payload)

    async def record(self, subject: str, payload: bytes) -> None:
        headers = once()

        async def ask(attempt: int) -> None:
            await self._stream.publish(subject, payload, headers=headers)

        with translated(subject):
            await until_answered(subject, ask)

    async def subscribe(self, subject: str, handler: Handler) -> Subscription:
        repeats = Repeats()

        async def receive(message: Msg) -> None:
            if message.headers and repeats.has(message.headers):
                return
            await handler(message.subject, message.data)

        return _Subscription(await self._control.subscribe(subject, cb=receive))

    async def subscribe_audio(self, subject: str, handler: AudioHandler) -> Subscription:
        return _Subscription(await self._inlet.subscribe(subject, handler))

    async def respond(self, subject: str, responder: Responder, *, queue: str) -> Subscription:
        async def answer(message: Msg) -> None:
            await self._control.publish(message.reply, await responder(message.data))

        async def receive(message: Msg) -> None:
            if not message.reply:
                return
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
        self._outlet.flush()
        await asyncio.gather(self._control.flush(), self._audio.flush())

    async def bucket(self, name: str, ttl_s: float) -> Bucket:
        may, copies = self._broker.makes_stores, self._broker.replicas

        async def ask(attempt: int) -> None:
            await nats_stores.ensure_bucket(self._stream, name, ttl_s, makes=may, replicas=copies)

        with translated(name):
            await until_answered(name, ask)
        return NatsBucket(self._stream, name)

    async def objects(self, name: str, ttl_s: float) -> ObjectStore:
        may, copies = self._broker.makes_stores, self._broker.replicas

        async def ask(attempt: int) -> None:
            await nats_stores.ensure_objects(self._stream, name, ttl_s, makes=may, replicas=copies)

        with translated(name):
            await until_answered(name, ask)
        return NatsObjects(self._stream, name)

    async def close(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2.0)
        self._outlet.flush()
        for client in (self._audio, self._control):
            if client.is_connected:
                await client.drain()
            elif not client.is_closed:
                # Nobody is there to take what is buffered.
                await client.close()


async def connect(broker: Broker | str, name: str, on_wait: Callable[[str], Awaitable[None]] | None = None) -> NatsBus:
    """Connect to the servers of `broker` (or of its URLs alone), waiting for them as long as it takes.

    `on_wait` is called with the reason each second that no server answers. Raises WrongTlsFiles.
    """
    chosen = Broker.at(broker) if isinstance(broker, str) else broker
    while True:
        bus = NatsBus(chosen)
        try:
            await bus.open(name)
            return bus
        except (OSError, TimeoutError, nats.errors.Error) as error:
            if on_wait is not None:
                await on_wait(explained(error))
            await asyncio.sleep(1)
