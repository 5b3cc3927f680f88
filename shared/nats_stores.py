"""Making what the broker keeps. Only the gateway may (`broker/nats.conf`); the others wait until it is there."""

import contextlib

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError

from shared import subjects
from shared.stores import BUCKETS, KEEP_EVENTS_S, OBJECTS, STREAM


class NotThereYet(nats.errors.Error):
    """What this process needs is not there, and it may not make it."""

    def __init__(self, name: str) -> None:
        """`name` is what is missing."""
        super().__init__(f"no {name} at the broker: it is there as soon as a gateway has started")


async def _exists(stream: JetStreamContext, name: str) -> bool:
    try:
        await stream.stream_info(name)
    except NotFoundError:
        return False
    return True


async def ensure_bucket(stream: JetStreamContext, name: str, keep_s: float, *, makes: bool, replicas: int) -> None:
    """Make the key-value bucket `name` if it is missing. Raises nats.errors.Error."""
    if await _exists(stream, f"KV_{name}"):
        return
    if not makes:
        raise NotThereYet(name)
    # A bucket that another process made in between, with other settings, is as good.
    with contextlib.suppress(BadRequestError):
        await stream.create_key_value(bucket=name, ttl=keep_s, replicas=replicas, direct=True)


async def ensure_objects(stream: JetStreamContext, name: str, keep_s: float, *, makes: bool, replicas: int) -> None:
    """Make the object store `name` if it is missing. Raises nats.errors.Error."""
    if await _exists(stream, f"OBJ_{name}"):
        return
    if not makes:
        raise NotThereYet(name)
    with contextlib.suppress(BadRequestError):
        await stream.create_object_store(name, ttl=keep_s, replicas=replicas)


async def _make_stream(stream: JetStreamContext, replicas: int) -> None:
    config = StreamConfig(
        name=STREAM,
        subjects=[subjects.EVENTS],
        max_age=KEEP_EVENTS_S,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        num_replicas=replicas,
    )
    with contextlib.suppress(BadRequestError):
        await stream.add_stream(config)


async def ensure(stream: JetStreamContext, *, makes: bool, replicas: int) -> None:
    """Make all that is missing, or see that the gateway has made it. Raises nats.errors.Error.

    What exists keeps the settings of its operator.
    """
    if makes:
        for name, keep_s in BUCKETS.items():
            await ensure_bucket(stream, name, keep_s, makes=True, replicas=replicas)
        for name, keep_s in OBJECTS.items():
            await ensure_objects(stream, name, keep_s, makes=True, replicas=replicas)
    # The last: whoever sees it finds the others.
    if not await _exists(stream, STREAM):
        if not makes:
            raise NotThereYet(STREAM)
        await _make_stream(stream, replicas)
