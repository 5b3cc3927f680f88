"""One call's voice: reply text in, pieces of audio out, never of an older reply."""

import asyncio

from services.tts.provider import Piece, Synthesizer
from shared.audio import RATE
from shared.call import Call
from shared.messages import Control, Message, ReplyEnd, ReplyText


class TtsSession:
    """Speaks the newest reply of a call."""

    def __init__(self, call: Call, provider: str) -> None:
        """`provider` is for the bill. The session works once `begin` was called."""
        self._call = call
        self._provider = provider
        self._orders: asyncio.Queue[ReplyText | ReplyEnd | None] = asyncio.Queue()
        """What the synthesizer has to do; None: drop what is older than the current reply."""
        self._synthesizer: Synthesizer | None = None
        self._generation = 0
        self._ended = False
        self._sent_bytes = 0
        self._characters = 0

    async def begin(self, synthesizer: Synthesizer) -> None:
        """Listen to the call, with a synthesizer that was opened with `deliver`; it belongs to the session."""
        self._synthesizer = synthesizer
        self._call.spawn(self._work(synthesizer))
        await self._call.channel.on(self._on_reply, ReplyText, ReplyEnd)
        await self._call.channel.on(self._on_control, Control)

    async def _on_reply(self, message: Message) -> None:
        if isinstance(message, ReplyText | ReplyEnd):
            self._move_to(message.generation)
            if message.generation == self._generation and not self._ended:
                self._ended = isinstance(message, ReplyEnd)
                self._orders.put_nowait(message)

    async def _on_control(self, message: Message) -> None:
        if isinstance(message, Control) and message.action == "clear":
            self._move_to(message.generation)

    def _move_to(self, generation: int) -> None:
        """Drop every reply older than `generation`, from this moment on."""
        if generation > self._generation:
            self._generation, self._ended, self._sent_bytes = generation, False, 0
            self._orders.put_nowait(None)

    async def _work(self, synthesizer: Synthesizer) -> None:
        """Beside the handlers, so that a clear is noticed while audio is made."""
        while True:
            order = await self._orders.get()
            if order is None:
                await synthesizer.cancel(self._generation)
            elif order.generation < self._generation:
                continue
            elif isinstance(order, ReplyText):
                self._characters += len(order.text)
                await synthesizer.speak(order.generation, order.text)
            else:
                await synthesizer.end(order.generation)

    async def deliver(self, piece: Piece) -> None:
        """The synthesizer's listener."""
        if piece.generation != self._generation:
            return
        offset_ms = self._sent_bytes * 1000 // RATE
        self._sent_bytes += len(piece.mulaw)
        await self._call.channel.send_audio_out(piece.generation, offset_ms, piece.mulaw, piece.text, last=piece.last)

    async def close(self) -> None:
        if self._synthesizer is None:
            return
        await self._synthesizer.close()
        if self._characters:
            await self._call.count(self._provider, self._synthesizer.model, characters=self._characters)
