"""The echo: what the caller says comes back at once. It shows that a line works, and how long the way is."""

import asyncio

from shared.audio import RATE, bytes_of
from shared.call import Call
from shared.messages import AudioIn

GENERATION = 1
"""The whole call is one reply that nobody interrupts."""
_PIECE = bytes_of(100)


class EchoSession:
    """One call's echo.

    A lost frame is neither waited for nor filled in: the echo is shorter then, and as prompt as before. A frame
    that comes again is dropped.
    """

    def __init__(self, call: Call) -> None:
        """`begin` starts it."""
        self._call = call
        self._heard = bytearray()
        self._newest = (0, -1)
        """The caller's line and the frame on it."""
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()

    async def begin(self) -> None:
        """Listen to the caller."""
        self._call.spawn(self._answer())
        await self._call.channel.on_audio_in(self._hear)

    def _hear(self, frame: AudioIn) -> None:
        if (frame.epoch, frame.seq) <= self._newest:
            return
        self._newest = (frame.epoch, frame.seq)
        self._heard += frame.payload
        while len(self._heard) >= _PIECE:
            self._pieces.put_nowait(bytes(self._heard[:_PIECE]))
            del self._heard[:_PIECE]

    async def _answer(self) -> None:
        sent_bytes = 0
        while True:
            piece = await self._pieces.get()
            offset_ms = sent_bytes * 1000 // RATE
            await self._call.channel.send_audio_out(GENERATION, offset_ms, piece, "", last=False)
            sent_bytes += len(piece)

    async def close(self) -> None:
        """The call's end ends the rest."""


async def open_echo(call: Call) -> EchoSession:
    """The session, listening."""
    session = EchoSession(call)
    await session.begin()
    return session
