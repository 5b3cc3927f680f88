"""One call's voice: reply text in, messages of audio out, never of an older reply."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from services.tts.gathering import Gathering
from services.tts.gathering import Message as Speech
from services.tts.greeting import GENERATION as PREPARED
from services.tts.greeting import Greeting
from services.tts.greetings import Greetings, key_of
from services.tts.provider import BilledSynthesizer, Piece, Synthesizer
from services.tts.resumption import Order, Resumption
from shared.audio import RATE
from shared.call import Call
from shared.messages import Control, Message, ReplyEnd, ReplyText, StageTaken

_TAKEN_WITHIN_S = 1.0
"""So long after its lease on an open line a voice hears of the takeover, if it hears of it at all."""
_SETTLED_AFTER_S = 0.05
"""So long after that, what the llm had sent before it heard of it has come."""


@dataclass(slots=True)
class _Reply:
    """What was asked for and said of the newest reply."""

    generation: int
    turn_id: int = 0
    sequence: int = -1
    """Of the newest piece of text."""
    asked_at: float = 0.0
    ended: bool = False
    greets: bool = False
    """Its pieces are those of the greeting as it was prepared."""
    given: int = 0
    """So many pieces of the greeting are sent, or held back for a moment."""
    sent_bytes: int = 0
    gathering: Gathering = field(default_factory=Gathering)
    timer: asyncio.TimerHandle | None = None
    """It looks after what is held back; most often that has left when it rings."""


class TtsSession:
    """Speaks the newest reply of a call."""

    def __init__(self, call: Call, provider: str, greetings: Greetings, clock: Callable[[], float] = time.time) -> None:
        """`provider` names the voice in `greetings`. The session works once `begin` was called."""
        self._call = call
        self._provider = provider
        self._greetings = greetings
        self._clock = clock
        self._orders: asyncio.Queue[ReplyText | ReplyEnd | None] = asyncio.Queue()
        """What the synthesizer has to do; None: drop what is older than `_oldest`."""
        self._synthesizer: BilledSynthesizer | None = None
        # On a line that is open already it was most likely said: it is text as any other if it is asked for.
        self._greeting = Greeting("" if call.line else call.profile.greeting)
        self._resumption = Resumption() if call.line else None
        """None: what is asked for is in order."""
        self._taken = asyncio.Event()
        self._key = key_of(provider, call.profile)
        self._reply = _Reply(generation=0)
        self._oldest = 0
        """The synthesizer speaks no reply before this one."""
        self._sending = asyncio.Lock()

    @property
    def settled(self) -> bool:
        """Whether what is asked for is in order: always, but for the first moments after a takeover."""
        return self._resumption is None

    async def begin(self, synthesizer: BilledSynthesizer) -> None:
        """Listen to the call, with a synthesizer that was opened with `deliver`; it belongs to the session."""
        self._synthesizer = synthesizer
        self._call.spawn(self._work(synthesizer))
        await self._call.channel.on(self._on_reply, ReplyText, ReplyEnd)
        await self._call.channel.on(self._on_control, Control)
        if self._resumption is not None:
            await self._call.channel.on(self._on_takeover, StageTaken)
            self._call.spawn(self._settle(self._resumption))
        if self._greeting.state == "waiting":
            # Beside the lease, which is granted also while the broker has no time for objects.
            self._call.spawn(self._prepare())

    async def _prepare(self) -> None:
        """Get the greeting, most often before it is asked for: the caller hears it as soon as the line opens."""
        recording = await self._greetings.find(self._call.channel, self._key, self._greeting.text)
        if recording is not None:
            self._greeting.found(recording)
        elif self._greeting.state == "waiting":
            self._speak_greeting()
        if self._reply.greets:
            await self._greet()

    def _speak_greeting(self) -> None:
        self._greeting.begin()
        self._orders.put_nowait(ReplyText(generation=PREPARED, turn_id=0, sequence=0, text=self._greeting.text))
        self._orders.put_nowait(ReplyEnd(generation=PREPARED, turn_id=0, pieces=1))

    async def _on_takeover(self, message: Message) -> None:
        own = (self._call.channel.stage, self._call.channel.epoch)
        if isinstance(message, StageTaken) and (message.leased, message.lease_epoch) == own:
            self._taken.set()

    async def _settle(self, resumption: Resumption) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._taken.wait(), _TAKEN_WITHIN_S)
        await asyncio.sleep(_SETTLED_AFTER_S)
        self._resumption = None
        for order in resumption.settle():
            await self._follow(order)

    async def _on_reply(self, message: Message) -> None:
        if not isinstance(message, ReplyText | ReplyEnd):
            return
        for order in [message] if self._resumption is None else self._resumption.take(message):
            await self._follow(order)

    async def _follow(self, message: Order) -> None:
        greets = self._greeting.is_asked_by(message)
        self._move_to(message.generation, keep_greeting=greets and self._greeting.state != "complete")
        reply = self._reply
        if message.generation != reply.generation or reply.ended:
            return
        if isinstance(message, ReplyText):
            if message.sequence <= reply.sequence:
                # Another llm, or the same one, says again what was said.
                return
            reply.sequence = message.sequence
            reply.asked_at = reply.asked_at or self._clock()
        reply.turn_id = message.turn_id
        if greets:
            # The greeting is the whole of its reply.
            reply.greets = reply.ended = True
            await self._greet()
        else:
            reply.ended = isinstance(message, ReplyEnd)
            self._orders.put_nowait(message)

    async def _on_control(self, message: Message) -> None:
        # Pause and resume are the gateway's: it keeps what is spoken meanwhile.
        if isinstance(message, Control) and message.action == "clear":
            self._move_to(message.generation)

    def _move_to(self, generation: int, *, keep_greeting: bool = False) -> None:
        """Drop every reply older than `generation`, from this moment on."""
        if generation <= self._reply.generation:
            return
        self._reply = _Reply(generation)
        if not keep_greeting:
            self._oldest = generation
            self._greeting.drop()
            self._orders.put_nowait(None)

    async def _work(self, synthesizer: Synthesizer) -> None:
        """Beside the handlers, so that a clear is noticed while audio is made."""
        while True:
            order = await self._orders.get()
            if order is None:
                await synthesizer.cancel(self._oldest)
            elif order.generation < self._oldest:
                continue
            elif isinstance(order, ReplyText):
                await synthesizer.speak(order.generation, order.text)
            else:
                await synthesizer.end(order.generation)

    async def _greet(self) -> None:
        """Send what there is of the greeting and was not sent yet."""
        reply, pieces = self._reply, self._greeting.pieces
        while reply is self._reply and reply.given < len(pieces):
            reply.given += 1
            await self._give(reply, pieces[reply.given - 1])

    async def deliver(self, piece: Piece) -> None:
        """The synthesizer's listener."""
        if piece.generation == PREPARED:
            complete = self._greeting.add(piece)
            # Another provider's voice, after a loss, is not what the recording is asked for.
            if complete and self._synthesizer is not None and self._synthesizer.provider == self._provider:
                self._greetings.keep(self._call.channel, self._key, self._greeting.recording)
            if self._reply.greets:
                await self._greet()
        elif piece.generation == self._reply.generation:
            await self._give(self._reply, piece)

    async def _give(self, reply: _Reply, piece: Piece) -> None:
        """Send `piece`, or hold it back until others can travel with it."""
        now = time.monotonic()
        if speeches := reply.gathering.add(piece, now):
            await self._send(reply, speeches)
        if reply.timer is None:
            self._look_after(reply, now)

    def _look_after(self, reply: _Reply, now: float) -> None:
        """A provider may stop in the middle: what is held back leaves before the caller has heard all else."""
        if (due_at := reply.gathering.due_at) is not None:
            reply.timer = asyncio.get_running_loop().call_later(due_at - now, self._ring, reply)

    def _ring(self, reply: _Reply) -> None:
        reply.timer = None
        now, due_at = time.monotonic(), reply.gathering.due_at
        if reply is not self._reply or due_at is None:
            return
        if due_at > now:
            self._look_after(reply, now)
        else:
            self._call.spawn(self._release(reply))

    async def _release(self, reply: _Reply) -> None:
        # Another piece may have come before this, and taken along what was held back.
        if reply is self._reply and reply.gathering.due_at is not None:
            await self._send(reply, [reply.gathering.release(time.monotonic())])

    async def _send(self, reply: _Reply, speeches: Sequence[Speech]) -> None:
        # One after the other, in the order in which they were put together.
        async with self._sending:
            for speech in speeches:
                offset_ms = reply.sent_bytes * 1000 // RATE
                reply.sent_bytes += len(speech.mulaw)
                await self._call.channel.send_audio_out(
                    reply.generation,
                    offset_ms,
                    speech.mulaw,
                    speech.text,
                    last=speech.last,
                    turn_id=reply.turn_id,
                    asked_at=reply.asked_at,
                )

    async def close(self) -> None:
        if self._synthesizer is None:
            return
        await self._synthesizer.close()
        if self._reply.timer is not None:
            self._reply.timer.cancel()
        for used in self._synthesizer.usage():
            await self._call.count(used.provider, used.model, characters=used.characters)
