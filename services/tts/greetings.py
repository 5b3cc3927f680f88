"""Spoken greetings, kept in the broker's object store: each is rendered once and then played by every worker."""

import asyncio
from collections import OrderedDict
from hashlib import sha256

import msgpack
import structlog

from services.tts.cutting import LONGEST, Cut
from shared.agents import AgentProfile
from shared.bus import BusError
from shared.channel import CallChannel

log = structlog.get_logger()

STORE = "greetings"
KEEP_S = 30 * 24 * 3600.0
_FORM = 1
"""Grows when pieces are cut or stored in another way."""
_REMEMBERED = 64
_PATIENCE_S = 0.15
"""A broker that takes longer to give a greeting is slower than most voices."""

Recording = tuple[Cut, ...]
"""All pieces of a greeting in order."""


def key_of(provider: str, profile: AgentProfile) -> str:
    """Where the greeting of `profile` is kept: it is another one when anything that sounds in it changes."""
    tts = profile.tts
    identity: bytes = msgpack.packb([_FORM, provider, tts.model, tts.voice, tts.speed, profile.greeting])
    return sha256(identity).hexdigest()


def encode(recording: Recording) -> bytes:
    """`recording` as a msgpack array of [μ-law, text]."""
    value: bytes = msgpack.packb([[cut.mulaw, cut.text] for cut in recording])
    return value


def decode(value: bytes, text: str) -> Recording | None:
    """The inverse of `encode`; None for what is no recording of `text`."""
    try:
        recording = tuple(Cut(mulaw, said) for mulaw, said in msgpack.unpackb(value))
        audio, said = b"".join(cut.mulaw for cut in recording), "".join(cut.text for cut in recording)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
    playable = audio and said == text and all(len(cut.mulaw) <= LONGEST for cut in recording)
    return recording if playable else None


class Greetings:
    """The greetings that a worker process plays; those it played last need no broker."""

    def __init__(self) -> None:
        """None is known yet."""
        self._recent: OrderedDict[str, Recording] = OrderedDict()
        self._storing: set[asyncio.Task[None]] = set()

    async def find(self, channel: CallChannel, key: str, text: str) -> Recording | None:
        """The recording of `text` at `key`, if there is one that can be played and the broker gives it soon."""
        if key in self._recent:
            self._recent.move_to_end(key)
            return self._recent[key]
        try:
            async with asyncio.timeout(_PATIENCE_S):
                value = await (await channel.objects(STORE, KEEP_S)).get(key)
        except (BusError, TimeoutError) as error:
            log.warning("greeting_not_loaded", call_id=channel.call_id, error=repr(error))
            return None
        if value is None:
            return None
        if (recording := decode(value, text)) is None:
            log.warning("greeting_broken", call_id=channel.call_id, key=key)
        else:
            self._remember(key, recording)
        return recording

    def keep(self, channel: CallChannel, key: str, recording: Recording) -> None:
        """Store `recording` at `key`, for all workers if the broker takes it; beside the call, which may end first."""
        self._remember(key, recording)
        task = asyncio.create_task(self._store(channel, key, recording))
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)

    async def _store(self, channel: CallChannel, key: str, recording: Recording) -> None:
        try:
            await (await channel.objects(STORE, KEEP_S)).put(key, encode(recording))
        except BusError as error:
            log.warning("greeting_not_kept", call_id=channel.call_id, error=str(error))

    def _remember(self, key: str, recording: Recording) -> None:
        self._recent[key] = recording
        self._recent.move_to_end(key)
        if len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)
