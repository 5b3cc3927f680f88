"""One call's subjects, as one stage uses them: typed messages, stamped and filtered by epoch."""

import time
from collections.abc import Awaitable, Callable, Sequence

import structlog
from pydantic import ValidationError

from shared import subjects
from shared.bus import Bucket, Bus, Handler, ObjectStore, Subscription
from shared.messages import MESSAGES, AudioIn, AudioOut, BadFrame, LeaseChanged, Message
from shared.messages.audio import pack, unpack_in, unpack_out

log = structlog.get_logger()

MessageHandler = Callable[[Message], Awaitable[None]]
Clock = Callable[[], float]
Subscribe = Callable[[str, Handler], Awaitable[Subscription]]


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
        self._audio_in = subjects.call(call_id, subjects.AUDIO_IN)
        self._audio_out = subjects.call(call_id, subjects.AUDIO_OUT)

    def supersede(self, stage: str, epoch: int) -> None:
        """From now on messages of `stage` with a lease older than `epoch` are dropped."""
        self._newest[stage] = max(epoch, self._newest.get(stage, 0))

    def _current(self, stage: str, epoch: int) -> bool:
        if epoch < self._newest.get(stage, 0):
            return False
        self._newest[stage] = epoch
        return True

    async def on(self, handler: MessageHandler, *types: type[Message]) -> None:
        """Have `handler` called with each message of `types` (one family), in order."""
        wanted = {message.suffix for message in types}

        async def receive(subject: str, payload: bytes) -> None:
            suffix = subjects.parse(subject).suffix
            if suffix not in wanted:
                return
            try:
                message = MESSAGES[suffix].model_validate_json(payload)
            except ValidationError as error:
                log.warning("message_dropped", call_id=self.call_id, subject=subject, reason=str(error.errors()[0]))
                return
            if isinstance(message, LeaseChanged) and message.state == "granted":
                self.supersede(message.leased, message.lease_epoch)
            if self._current(message.stage, message.epoch):
                await handler(message)

        pattern = subjects.call(self.call_id, _pattern(types))
        await self._listen(self._bus.subscribe, pattern, receive)

    async def _listen(
        self, subscribe: Callable[[str, Handler], Awaitable[Subscription]], subject: str, receive: Handler
    ) -> None:
        async def guarded(subject: str, payload: bytes) -> None:
            try:
                await receive(subject, payload)
            except Exception as error:
                # nats-py would only report it and the call would hang: the owner ends the call's part here.
                log.error("handler_failed", call_id=self.call_id, subject=subject, exc_info=error)
                if self.on_failure is not None:
                    self.on_failure(error)

        self._subscriptions.append(await subscribe(subject, guarded))

    async def on_audio_in(self, handler: Callable[[AudioIn], None]) -> None:
        """Have `handler` called with each of the caller's frames."""

        async def receive(subject: str, payload: bytes) -> None:
            try:
                frame = unpack_in(payload)
            except BadFrame as error:
                log.warning("frame_dropped", call_id=self.call_id, subject=subject, reason=str(error))
                return
            if self._current("gateway", frame.epoch):
                handler(frame)

        await self._listen(self._bus.subscribe_audio, self._audio_in, receive)

    async def on_audio_out(self, sender: str, handler: Callable[[AudioOut], Awaitable[None]]) -> None:
        """Have `handler` called with each piece of the agent's audio; `sender` is tts or speech."""

        async def receive(subject: str, payload: bytes) -> None:
            try:
                frame = unpack_out(payload)
            except BadFrame as error:
                log.warning("frame_dropped", call_id=self.call_id, subject=subject, reason=str(error))
                return
            if self._current(sender, frame.epoch):
                await handler(frame)

        await self._listen(self._bus.subscribe_audio, self._audio_out, receive)

    async def send(self, message: Message) -> None:
        """Publish `message`, stamped; events are kept by JetStream."""
        stamped = message.model_copy(
            update={"call_id": self.call_id, "stage": self.stage, "epoch": self.epoch, "at": self._clock()}
        )
        subject = subjects.call(self.call_id, message.suffix)
        publish = self._bus.record if message.suffix.startswith("event.") else self._bus.publish
        await publish(subject, stamped.model_dump_json().encode())

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
