"""A voice at ElevenLabs: one socket a call, one context a reply.

Beyond the documentation (observed by others on the real service): `flush` alone brings no `isFinal`,
`close_context` does; any message for an unknown context opens it, so nothing is sent for a reply without text;
a context that was closed counts until its `isFinal`; `voice_settings` belong into a context's first message.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog
from msgspec import UNSET

from services.tts.captions import CHARS_PER_S, Captions
from services.tts.cutting import Cutter
from services.tts.provider import Failure, Listener, Piece
from services.tts.providers.elevenlabs_messages import Answer
from services.tts.providers.elevenlabs_socket import Socket
from shared.agents import TtsProfile
from shared.provider_errors import ProviderLost
from shared.stage import CannotServe

log = structlog.get_logger()

MAX_CONTEXTS = 5
"""ElevenLabs closes a socket that opens one more."""
_SPEEDS = (0.7, 1.2)
"""What ElevenLabs accepts."""
_IDLE = "input_timeout_exceeded"

Connect = Callable[[], Awaitable[Socket]]


_ERRORS = {"rate_limit_exceeded": "status_429", "internal_error": "status_500"}
"""The vendor's names for what the metrics call so."""


class VoiceLost(ProviderLost):
    """ElevenLabs does not speak any more; the message says why."""


@dataclass(slots=True)
class _Reply:
    cutter: Cutter
    open: bool = False
    """ElevenLabs has a context for it."""
    ended: bool = False


class ElevenLabsVoice:
    """One call's voice at ElevenLabs."""

    def __init__(
        self,
        connect: Connect,
        profile: TtsProfile,
        listener: Listener,
        failure: Failure,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`start` opens the socket. `clock` in seconds."""
        self.model = profile.model
        self._connect = connect
        self._listener = listener
        self._failure = failure
        self._clock = clock
        self._speed = min(max(profile.speed, _SPEEDS[0]), _SPEEDS[1])
        self._socket: Socket | None = None
        self._contexts: set[int] = set()
        """Those that count against the limit of the socket."""
        self._replies: dict[int, _Reply] = {}
        """Those that somebody still wants to hear."""
        self._oldest = -1
        self._over = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Open the socket, or another one in its place. Raises CannotServe."""
        socket = await self._connect()
        if self._over:
            await socket.close()
            return
        before, self._socket = self._socket, socket
        self._contexts = set()
        self._run(self._receive(self._socket))
        if before is not None:
            self._run(before.close())

    def _run(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if not self._over:
            self._over = True
            self._failure(error)

    async def speak(self, generation: int, text: str) -> None:
        if self._over or generation < self._oldest:
            return
        reply = self._reply(generation)
        reply.cutter.captions.add(text)
        if not text.strip():
            return
        try:
            if not reply.open:
                await self._open_context(generation, reply)
            # A text for a context that was closed meanwhile would open it again, and nobody would close it.
            if reply.open and self._wanted(generation, reply):
                await self._send(generation, text=text.strip() + " ")
        except (CannotServe, ConnectionError) as error:
            self._fail(error)

    def _wanted(self, generation: int, reply: _Reply) -> bool:
        return self._replies.get(generation) is reply

    def _reply(self, generation: int) -> _Reply:
        return self._replies.setdefault(generation, _Reply(Cutter(Captions(CHARS_PER_S * self._speed))))

    async def _open_context(self, generation: int, reply: _Reply) -> None:
        """A socket that ElevenLabs closed in a silence, or whose contexts are all taken, is replaced."""
        if self._socket is None or self._socket.closed or len(self._contexts) >= MAX_CONTEXTS:
            log.info("elevenlabs_reconnects", contexts=len(self._contexts))
            await self.start()
        if not self._wanted(generation, reply):
            return
        reply.open = True
        self._contexts.add(generation)
        voice_settings = {} if self._speed == 1.0 else {"voice_settings": {"speed": self._speed}}
        await self._send(generation, text=" ", **voice_settings)

    async def _send(self, generation: int, **message: Any) -> None:
        if self._socket is not None and not self._over:
            await self._socket.send(context_id=str(generation), **message)

    async def end(self, generation: int) -> None:
        if self._over or generation < self._oldest:
            return
        reply = self._reply(generation)
        reply.ended = True
        if not reply.open:
            await self._finish(generation, reply)
            return
        try:
            await self._send(generation, flush=True)
            await self._send(generation, close_context=True)
        except ConnectionError as error:
            self._fail(error)

    async def _finish(self, generation: int, reply: _Reply) -> None:
        del self._replies[generation]
        await self._listener(Piece(generation, reply.cutter.rest(), reply.cutter.captions.rest(), last=True))

    async def cancel(self, generation: int) -> None:
        self._oldest = max(self._oldest, generation)
        dropped = {old: self._replies.pop(old) for old in list(self._replies) if old < generation}
        for old, reply in dropped.items():
            if reply.open and not reply.ended:
                try:
                    await self._send(old, close_context=True)
                except ConnectionError as error:
                    # Nothing that is still wanted was on it; the next reply opens another socket.
                    log.debug("elevenlabs_gone", error=repr(error))

    async def close(self) -> None:
        self._over = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if self._socket is not None:
            await self._socket.close()
        if tasks:
            await asyncio.wait(tasks)

    async def _receive(self, socket: Socket) -> None:
        async for message in socket.messages():
            if message.error is not UNSET:
                self._check(message)
            elif message.is_final:
                await self._on_final(socket, message)
            elif message.audio:
                await self._on_audio(message.audio, message)
        if socket is self._socket and any(reply.open for reply in self._replies.values()):
            raise VoiceLost("ElevenLabs closed the socket in the middle of a reply")

    def _check(self, message: Answer) -> None:
        if message.error == _IDLE and not self._replies:
            log.debug("elevenlabs_idle")
        else:
            reason = _ERRORS.get(str(message.error), "connection")
            raise VoiceLost(f"ElevenLabs: {message.error}: {message.message}", reason)

    async def _on_final(self, socket: Socket, message: Answer) -> None:
        if socket is not self._socket:
            return
        generation = message.generation
        self._contexts.discard(generation)
        reply = self._replies.get(generation)
        if reply is None:
            return
        reply.open = False
        if reply.ended:
            await self._finish(generation, reply)

    async def _on_audio(self, mulaw: bytes, message: Answer) -> None:
        generation = message.generation
        reply = self._replies.get(generation)
        if reply is None:
            return
        if times := message.times:
            reply.cutter.captions.align(times.chars, times.char_start_times_ms, times.char_durations_ms)
        for part in reply.cutter.feed(mulaw, self._clock()):
            if generation not in self._replies or self._over:
                return
            await self._listener(Piece(generation, part.mulaw, part.text))
