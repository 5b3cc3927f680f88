"""One call's voice: reply text in, pieces of audio out, never of an older reply."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from services.tts.greeting import GENERATION as PREPARED
from services.tts.greeting import Greeting
from services.tts.greetings import Greetings, key_of
from services.tts.provider import Piece, Synthesizer
from shared.audio import RATE
from shared.call import Call
from shared.messages import Control, Message, ReplyEnd, ReplyText


@dataclass(slots=True)
class _Reply:
    """What was asked for and said of the newest reply."""

    generation: int
    turn_id: int = 0
    asked_at: float = 0.0
    ended: bool = False
    greets: bool = False
    """Its pieces are those of the greeting as it was prepared."""
    sent: int = 0
    sent_bytes: int = 0


class TtsSession:
    """Speaks the newest reply of a call."""

    def __init__(self, call: Call, provider: str, greetings: Greetings, clock: Callable[[], float] = time.time) -> None:
        """`provider` names the voice in the bill and in `greetings`. The session works once `begin` was called."""
        self._call = call
        self._provider = provider
        self._greetings = greetings
        self._clock = clock
        self._orders: asyncio.Queue[ReplyText | ReplyEnd | None] = asyncio.Queue()
        """What the synthesizer has to do; None: drop what is older than `_oldest`."""
        self._synthesizer: Synthesizer | None = None
        self._greeting = Greeting(call.profile.greeting)
        self._key = key_of(provider, call.profile)
        self._reply = _Reply(generation=0)
        self._oldest = 0
        """The synthesizer speaks no reply before this one."""
        self._sending = asyncio.Lock()
        self._characters = 0

    async def begin(self, synthesizer: Synthesizer) -> None:
        """Listen to the call, with a synthesizer that was opened with `deliver`; it belongs to the session."""
        self._synthesizer = synthesizer
        self._call.spawn(self._work(synthesizer))
        await self._call.channel.on(self._on_reply, ReplyText, ReplyEnd)
        await self._call.channel.on(self._on_control, Control)
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

    async def _on_reply(self, message: Message) -> None:
        if not isinstance(message, ReplyText | ReplyEnd):
            return
        greets = self._greeting.is_asked_by(message)
        self._move_to(message.generation, keep_greeting=greets and self._greeting.state != "complete")
        reply = self._reply
        if message.generation != reply.generation or reply.ended:
            return
        reply.turn_id = message.turn_id
        if isinstance(message, ReplyText):
            reply.asked_at = reply.asked_at or self._clock()
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
                self._characters += len(order.text)
                await synthesizer.speak(order.generation, order.text)
            else:
                await synthesizer.end(order.generation)

    async def _greet(self) -> None:
        """Send what there is of the greeting and was not sent yet; one at a time, so that it stays in order."""
        reply, pieces = self._reply, self._greeting.pieces
        async with self._sending:
            while reply is self._reply and reply.sent < len(pieces):
                reply.sent += 1
                await self._send(reply, pieces[reply.sent - 1])

    async def deliver(self, piece: Piece) -> None:
        """The synthesizer's listener."""
        if piece.generation == PREPARED:
            if self._greeting.add(piece):
                self._greetings.keep(self._call.channel, self._key, self._greeting.recording)
            if self._reply.greets:
                await self._greet()
        elif piece.generation == self._reply.generation:
            await self._send(self._reply, piece)

    async def _send(self, reply: _Reply, piece: Piece) -> None:
        offset_ms = reply.sent_bytes * 1000 // RATE
        reply.sent_bytes += len(piece.mulaw)
        await self._call.channel.send_audio_out(
            reply.generation,
            offset_ms,
            piece.mulaw,
            piece.text,
            last=piece.last,
            turn_id=reply.turn_id,
            asked_at=reply.asked_at,
        )

    async def close(self) -> None:
        if self._synthesizer is None:
            return
        await self._synthesizer.close()
        if self._characters:
            await self._call.count(self._provider, self._synthesizer.model, characters=self._characters)
