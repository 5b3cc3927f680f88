"""The multi-context socket of the ElevenLabs stand-in.

Source: ElevenLabs' API reference ("Multi-Context WebSocket"), and what users have
observed on the real service: the handshake takes any key and voice, and the first text brings the refusal;
`flush` alone brings no `isFinal`; any message for an unknown context opens it; errors are
`{"message", "error", "code": 1008}` without a context, then the socket closes with 1008.

Simpler than the vendor: text is spoken at once with auto_mode, else when `flush` comes or 120 characters
are there; closing a context that was not flushed stops it after the piece on its way.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from simulator.standins.behaviour import Behaviour
from simulator.standins.elevenlabs_speech import VOICES, chunks, speak_as
from simulator.standins.faults import FaultySocket, VendorFails

MAX_CONTEXTS = 5
OUTPUT_FORMAT = "ulaw_8000"
_FIRST_SCHEDULED_CHARS = 120
_DEFAULT_INACTIVITY_S, _MAX_INACTIVITY_S = 20, 180
_POLICY_VIOLATION, _INTERNAL_ERROR = 1008, 1011
_GARBAGE = ('{"audio": 7, "contextId": "1"}', '{"audio": "%", "contextId": "1"}', '{"contextId": ["1"]}')
_BETWEEN_CHUNKS_S = 0.005
"""The vendor makes speech some forty times faster than it is heard."""


class _Refused(Exception):
    """The vendor's reason to close a socket."""

    def __init__(self, error: str, message: str, code: int = _POLICY_VIOLATION) -> None:
        super().__init__(message)
        self.code = code
        self.frame = {"message": message, "error": error, "code": code}


_FAILURES = {
    "429": _Refused("rate_limit_exceeded", "Too many requests. Please try again later."),
    "500": _Refused("internal_error", "Something went wrong on our side.", _INTERNAL_ERROR),
}


@dataclass(slots=True, eq=False)
class _Context:
    """One stream of speech within a socket."""

    id: str
    voice_settings: dict[str, float] | None
    buffer: str = ""
    flushed: bool = False
    texts: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)
    """What is to be spoken; None: the context is closed."""
    task: "asyncio.Task[None] | None" = None

    def speak_buffer(self) -> None:
        """Do not wait for more text."""
        if self.buffer.strip():
            self.texts.put_nowait(self.buffer)
        self.buffer = ""


class Connection:
    """One multi-context socket."""

    def __init__(self, request: web.Request, behaviour: Behaviour) -> None:
        """`run` does the rest."""
        self._behaviour = behaviour
        self._voice_id = request.match_info["voice_id"]
        self._key = request.headers.get("xi-api-key", "")
        query = request.query
        self._auto_mode = query.get("auto_mode") == "true"
        self._aligned = query.get("sync_alignment") == "true"
        asked = int(query.get("inactivity_timeout", _DEFAULT_INACTIVITY_S))
        self._inactivity_s = min(asked, _MAX_INACTIVITY_S)
        self._format = query.get("output_format", "mp3_44100_128")
        self._socket = FaultySocket(lambda: behaviour.tts_fault, _GARBAGE)
        self._contexts: dict[str, _Context] = {}

    async def run(self, request: web.Request) -> web.WebSocketResponse:
        """Serve the socket to its end."""
        await self._socket.open(request)
        try:
            async for message in self._messages():
                if message.get("close_socket"):
                    await self._finish()
                    break
                await self._take(message)
        except _Refused as refused:
            await self._refuse(refused)
        except VendorFails as failing:
            await self._refuse(_FAILURES[failing.status])
        except ConnectionResetError:
            # Dropped.
            pass
        finally:
            for context in list(self._contexts.values()):
                await self._stop(context)
        return self._socket.socket

    async def _refuse(self, refused: _Refused) -> None:
        with suppress(ConnectionResetError):
            await self._socket.socket.send_json(refused.frame)
            await self._socket.socket.close(code=refused.code, message=str(refused).encode()[:120])

    async def _messages(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            try:
                received = await self._socket.receive(asyncio.get_running_loop().time() + self._inactivity_s)
            except TimeoutError:
                raise _Refused(
                    "input_timeout_exceeded",
                    f"Have not received a new text input within the timeout of {self._inactivity_s} seconds.",
                ) from None
            if received.type is not WSMsgType.TEXT:
                return
            try:
                message = json.loads(received.data)
            except ValueError:
                message = None
            if not isinstance(message, dict):
                raise _Refused("invalid_input_message", "Could not parse input message, make sure it is a json.")
            yield message

    async def _take(self, message: dict[str, Any]) -> None:
        name, text = str(message.get("context_id", "default")), str(message.get("text") or "")
        context = self._contexts.get(name) or self._open(name, message)
        if message.get("voice_settings", context.voice_settings) != context.voice_settings:
            raise _Refused(
                "invalid_voice_settings",
                "voice_settings field must be provided in the first message and then either be not provided "
                "or not change.",
            )
        if text.strip():
            self._authorise(str(message.get("xi_api_key") or self._key))
            context.buffer += text
            context.flushed = False
        if message.get("flush") or self._auto_mode or len(context.buffer) >= _FIRST_SCHEDULED_CHARS:
            context.speak_buffer()
        context.flushed = context.flushed or bool(message.get("flush"))
        if message.get("close_context"):
            await self._close(context)

    def _open(self, name: str, message: dict[str, Any]) -> _Context:
        if len(self._contexts) >= MAX_CONTEXTS:
            raise _Refused(
                "max_active_conversations",
                f"Maximum simultaneous contexts per WebSocket connection exceeded ({MAX_CONTEXTS}). "
                "Please close an existing context before opening a new one.",
            )
        context = self._contexts[name] = _Context(name, message.get("voice_settings"))
        context.task = asyncio.create_task(self._speak(context))
        return context

    def _authorise(self, key: str) -> None:
        if key != self._behaviour.api_key:
            raise _Refused("invalid_api_key", "Invalid API key")
        if self._voice_id not in VOICES:
            raise _Refused("voice_id_does_not_exist", f"A voice with voice_id {self._voice_id} does not exist.")
        if self._format != OUTPUT_FORMAT:
            raise _Refused("output_format_not_allowed", f"The stand-in speaks {OUTPUT_FORMAT}, not {self._format}.")

    async def _speak(self, context: _Context) -> None:
        try:
            await self._speak_all(context)
        except VendorFails as failing:
            await self._refuse(_FAILURES[failing.status])
        except ConnectionResetError:
            return

    async def _speak_all(self, context: _Context) -> None:
        delay_s = self._behaviour.tts_first_audio_ms / 1000
        speed = (context.voice_settings or {}).get("speed", 1.0)
        while (text := await context.texts.get()) is not None:
            speech = await speak_as(self._behaviour.tts_voice, text, self._voice_id, speed)
            if delay_s:
                await asyncio.sleep(delay_s)
                delay_s = 0.0
            for index, chunk in enumerate(chunks(speech, text)):
                if index:
                    await asyncio.sleep(_BETWEEN_CHUNKS_S)
                await self._socket.send(
                    {
                        "audio": base64.b64encode(chunk.mulaw).decode(),
                        "isFinal": None,
                        "alignment": chunk.alignment() if self._aligned else None,
                        "normalizedAlignment": chunk.alignment("" if index else " ") if self._aligned else None,
                        "contextId": context.id,
                    }
                )
        await self._final(context)

    async def _final(self, context: _Context) -> None:
        self._contexts.pop(context.id, None)
        await self._socket.send({"isFinal": True, "contextId": context.id})

    async def _close(self, context: _Context) -> None:
        """What was flushed is still spoken; else the context ends at once."""
        if context.flushed:
            context.texts.put_nowait(None)
        else:
            await self._stop(context)
            await self._final(context)

    async def _stop(self, context: _Context) -> None:
        if context.task is not None:
            context.task.cancel()
            await asyncio.wait([context.task])

    async def _finish(self) -> None:
        """The whole socket ends when what was flushed is spoken."""
        open_contexts = list(self._contexts.values())
        for context in open_contexts:
            await self._close(context)
        tasks = [context.task for context in open_contexts if context.task is not None]
        if tasks:
            await asyncio.wait(tasks)
        await self._socket.socket.close()
