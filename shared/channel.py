"""One call's subjects, as one stage uses them: typed messages, stamped and filtered by epoch."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from typing import TypeVar

import structlog
from pydantic import ValidationError

from shared import subjects
from shared.bus import Bucket, Bus, BusError, Handler, ObjectStore, Subscription
from shared.in_turn import InTurn
from shared.messages import AudioIn, AudioOut, BadFrame, LeaseChanged, Message
from shared.messages.audio import pack, unpack_in, unpack_out

log = structlog.get_logger()

MessageHandler = Callable[[Message], Awaitable[None]]
Clock = Callable[[], float]
F = TypeVar("F", AudioIn, AudioOut)


def _pattern(types: Sequence[type[Message]]) -> str:
    """The narrowest subject suffix that covers `types`: one subscription keeps their order."""
    if len(types) == 1:
        return types[0].suffix
    families = {message.suffix.split(".")[0] for message in types}
    if len(families) != 1:
        raise ValueError(f"one subscription takes messages of one family, not of {sorted(families)}")
    return f"{families.pop()}.*"


class CallChannel:
    """Sends and receives the messages of one call on behalf of one stage."""

    def __init__(self, bus: Bus, call_id: str, stage: str, epoch: int, clock: Clock = time.time) -> None:
        """`epoch` is the number of the stage's lease on the call. Raises InvalidId."""
        self.call_id = call_id
        self.stage = stage
        self.epoch = epoch
        self.on_failure: Callable[[Exception], None] | None = None
        """Called when a handler raises; the call cannot go on with this stage."""
        self._bus = bus
        self._clock = clock
        self._subscriptions: list[Subscription] = []
        self._newest: dict[str, int] = {}
        self._keeping: set[asyncio.Task[None]] = set()
        self._retired = False
        self._prefix = subjects.call(call_id, "")
        self._audio_in = self._prefix + subjects.AUDIO_IN
        self._audio_out = self._prefix + subjects.AUDIO_OUT

    def supersede(self, stage: str, epoch: int) -> None:
        """From now on messages of `stage` with a lease older than `epoch` are dropped."""
        self._newest[stage] = max(epoch, self._newest.get(stage, 0))

    def retire(self) -> None:
        """Another lease of this stage has replaced this one: from now on it hears nothing, and sends events only.

        What it was used for belongs in the call's history; what it says is nobody's concern any more.
        """
        self._retired = True

    def _current(self, stage: str, epoch: int) -> bool:
        if epoch < self._newest.get(stage, 0):
            return False
        self._newest[stage] = epoch
        return True

    async def on(self, handler: MessageHandler, *types: type[Message]) -> None:
        """Have `handler` called with each message of `types` (one family), in order."""
        wanted = {message.suffix: message for message in types}
        prefix = len(self._prefix)

        async def receive(subject: str, payload: bytes) -> None:
            kind = wanted.get(subject[prefix:])
            if kind is None:
                return
            try:
                message = kind.model_validate_json(payload)
            except ValidationError as error:
                log.warning("message_dropped", call_id=self.call_id, subject=subject, reason=str(error.errors()[0]))
                return
            if isinstance(message, LeaseChanged) and message.state == "granted":
                self.supersede(message.leased, message.lease_epoch)
            # A lease has a number of its own. The audio of the line that was opened with it comes by another
            # connection, and may overtake the news of it.
            if self._current(message.stage, message.epoch) or isinstance(message, LeaseChanged):
                await handler(message)

        self._subscriptions.append(await self._bus.subscribe(self._prefix + _pattern(types), self._guarded(receive)))

    def _guarded(self, receive: Handler) -> Handler:
        async def guarded(subject: str, payload: bytes) -> None:
            if self._retired:
                return
            try:
                await receive(subject, payload)
            except Exception as error:
                # The bus would only report it and the call would hang: the owner ends the call's part here.
                log.error("handler_failed", call_id=self.call_id, subject=subject, exc_info=error)
                self._fail(error)

        return guarded

    def _fail(self, error: Exception) -> None:
        if self.on_failure is not None:
            self.on_failure(error)

    async def on_audio_in(self, handler: Callable[[AudioIn], None]) -> None:
        """Have `handler` called with each of the caller's frames in the moment it arrives."""
        await self._listen_to_audio(self._audio_in, "gateway", unpack_in, handler)

    async def on_audio_out(self, sender: str, handler: Callable[[AudioOut], None]) -> None:
        """Have `handler` called with each piece of the agent's audio; `sender` is tts or speech."""
        await self._listen_to_audio(self._audio_out, sender, unpack_out, handler)

    async def _listen_to_audio(
        self, subject: str, sender: str, unpack: Callable[[bytes], F], handler: Callable[[F], None]
    ) -> None:
        def receive(subject: str, payload: bytes) -> None:
            # The most frequent messages by far: no call more than there must be.
            if self._retired:
                return
            try:
                frame = unpack(payload)
                if self._current(sender, frame.epoch):
                    handler(frame)
            except BadFrame as error:
                log.warning("frame_dropped", call_id=self.call_id, subject=subject, reason=str(error))
            except Exception as error:
                # The bus would only report it and the call would hang: the owner ends the call's part here.
                log.error("handler_failed", call_id=self.call_id, subject=subject, exc_info=error)
                self._fail(error)

        self._subscriptions.append(await self._bus.subscribe_audio(subject, receive))

    async def on_audio_out_in_turn(self, sender: str, handler: Callable[[AudioOut], Awaitable[None]]) -> None:
        """As `on_audio_out`, for a handler that may wait: the pieces that come meanwhile wait for it."""

        async def receive(subject: str, payload: bytes) -> None:
            try:
                frame = unpack_out(payload)
            except BadFrame as error:
                log.warning("frame_dropped", call_id=self.call_id, subject=subject, reason=str(error))
                return
            if self._current(sender, frame.epoch):
                await handler(frame)

        pieces = InTurn(self._guarded(receive))
        self._subscriptions += [await self._bus.subscribe_audio(self._audio_out, pieces.take), pieces]

    async def send(self, message: Message) -> None:
        """Publish `message`, stamped; events are kept by JetStream."""
        event = message.suffix.startswith("event.")
        if self._retired and not event:
            return
        stamped = copy(message)
        # What model_copy and model_dump_json do for any model takes twice as long as this does for a message.
        stamped.__dict__.update(call_id=self.call_id, stage=self.stage, epoch=self.epoch, at=self._clock())
        publish = self._bus.record if event else self._bus.publish
        await publish(self._prefix + message.suffix, stamped.__pydantic_serializer__.to_json(stamped))

    def tell(self, event: Message) -> None:
        """Publish `event` now; that JetStream keeps it is seen to beside, since a cluster may take seconds for it."""
        task = asyncio.create_task(self._keep(event))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def _keep(self, event: Message) -> None:
        try:
            await self.send(event)
        except BusError as error:
            log.error("event_not_kept", call_id=self.call_id, suffix=event.suffix, error=str(error))

    async def send_audio_in(self, seq: int, timestamp_ms: int, payload: bytes) -> None:
        """Publish one frame of the caller's audio."""
        await self._bus.publish_audio(self._audio_in, pack(AudioIn(self.epoch, seq, timestamp_ms, payload)))

    async def send_audio_out(
        self,
        generation: int,
        offset_ms: int,
        payload: bytes,
        text: str,
        *,
        last: bool,
        turn_id: int = 0,
        asked_at: float = 0.0,
    ) -> None:
        """Publish one piece of the agent's audio."""
        if self._retired:
            return
        frame = AudioOut(self.epoch, generation, turn_id, offset_ms, asked_at, self._clock(), payload, text, last)
        await self._bus.publish_audio(self._audio_out, pack(frame))

    async def bucket(self, name: str, ttl_s: float) -> Bucket:
        """The key-value bucket `name`, for what must outlive the worker. Raises BusError."""
        return await self._bus.bucket(name, ttl_s)

    async def objects(self, name: str, ttl_s: float) -> ObjectStore:
        """The object store `name`, for what is too large for a bucket. Raises BusError."""
        return await self._bus.objects(name, ttl_s)

    async def flush(self) -> None:
        """Return when the broker knows all subscriptions of this channel."""
        await self._bus.flush()

    async def close(self) -> None:
        """Stop listening."""
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            await subscription.drain()
