"""The seam to the broker: everything that the services ask of NATS."""

from collections.abc import Awaitable, Callable
from typing import Protocol

Handler = Callable[[str, bytes], Awaitable[None]]
"""Receives (subject, payload). Must not block: the messages of a subscription wait for each other."""
AudioHandler = Callable[[str, bytes], None]
"""Receives (subject, payload) of an audio frame in the moment it arrives; it cannot wait, see `InTurn`."""
Responder = Callable[[bytes], Awaitable[bytes]]
"""Answers a request."""
MAX_OBJECT_BYTES = 1024 * 1024
"""What an object store takes as one value."""


class BusError(Exception):
    """The broker did not do what was asked."""


class NoResponders(BusError):
    """Nobody listens on the subject of a request."""


class RequestTimeout(BusError):
    """Nobody answered a request in time."""


class Disconnected(BusError):
    """The broker cannot be reached now."""


class WrongRevision(BusError):
    """A key has changed since it was read, or exists already."""


class Subscription(Protocol):
    """Interest in a subject."""

    async def drain(self) -> None:
        """Stop listening; messages that have arrived are still handled."""


class Bucket(Protocol):
    """One key-value bucket. Each change is a message on `$KV.<bucket>.<key>`: the value, or nothing for a delete.

    While the broker chooses a new leader for the bucket (some seconds after the loss of a node) reads go on and writes
    wait; a write is done once at most. All methods raise Disconnected when that takes too long.
    """

    async def get(self, key: str) -> tuple[bytes, int] | None:
        """The value of `key` and its revision, or None."""

    async def put(self, key: str, value: bytes) -> int:
        """Set `key`; returns its revision."""

    async def create(self, key: str, value: bytes) -> int:
        """Set `key` if it does not exist. Raises WrongRevision if it does."""

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """Set `key` if it is still at `revision`. Raises WrongRevision if it is not."""

    async def delete(self, key: str) -> None:
        """Forget `key`; a missing key is no error."""

    async def keys(self) -> list[str]:
        """All keys that have a value."""


class ObjectStore(Protocol):
    """Values of up to MAX_OBJECT_BYTES, too large for a bucket. All methods raise BusError, after seconds at most."""

    async def get(self, key: str) -> bytes | None:
        """The value of `key`, or None."""

    async def put(self, key: str, value: bytes) -> None:
        """Set `key`. Of two puts at the same time one wins, whole."""


class Bus(Protocol):
    """A connection to the broker. Subjects may hold wildcards where they are listened to."""

    @property
    def connected(self) -> bool:
        """Whether the broker can be reached now."""

    @property
    def gaps(self) -> int:
        """How often the broker was lost and found again: messages for this process may have been lost each time.

        Grows when the process hears everything again.
        """

    async def publish(self, subject: str, payload: bytes) -> None:
        """Send to whoever listens now; waits in a buffer during a reconnect."""

    async def publish_audio(self, subject: str, payload: bytes) -> None:
        """Send what is worthless when late: dropped, not kept, while disconnected."""

    async def record(self, subject: str, payload: bytes) -> None:
        """Send to a subject that the stream `CALLS` keeps, and wait until it is kept. Raises BusError.

        Whoever listens hears it at once and once; to be kept may take seconds after the loss of a node.
        """

    async def subscribe(self, subject: str, handler: Handler) -> Subscription:
        """Have `handler` called for each message, one after the other."""

    async def subscribe_audio(self, subject: str, handler: AudioHandler) -> Subscription:
        """Have `handler` called with each audio frame, in order."""

    async def respond(self, subject: str, responder: Responder, *, queue: str) -> Subscription:
        """Answer requests, shared among all that respond in the same `queue`.

        Requests are answered side by side, so a slow one does not hold up the next.
        """

    async def request(self, subject: str, payload: bytes, timeout: float) -> bytes:
        """Ask and wait `timeout` seconds. Raises NoResponders, RequestTimeout or Disconnected."""

    async def flush(self) -> None:
        """Return when the broker has processed all subscriptions made before."""

    async def bucket(self, name: str, ttl_s: float) -> Bucket:
        """The key-value bucket `name`, made if need be; keys live `ttl_s` after their last put."""

    async def objects(self, name: str, ttl_s: float) -> ObjectStore:
        """The object store `name`, made if need be; values live `ttl_s` after their put. Raises BusError."""

    async def close(self) -> None:
        """Send what is buffered and disconnect."""
