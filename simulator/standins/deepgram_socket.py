"""The listen v1 socket of the Deepgram stand-in.

Source: Deepgram's API reference ("Live Audio") and its pages on Finalize, Close Stream, Audio Keep Alive,
Endpointing, Utterance End and socket errors. A Finalize with nothing left to process is not answered, as there.
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import WSMsgType, web
from pydantic import BaseModel, ConfigDict, Field, field_validator

from simulator.ear import PhraseBook
from simulator.standins.behaviour import Behaviour
from simulator.standins.deepgram_hearing import Began, Ended, Event, Hearing, Segment
from simulator.standins.deepgram_results import Messages
from simulator.standins.deepgram_scribe import Scribe

_INTERNAL_ERROR = 1011
_NO_AUDIO = "NET-0001"
_DEFAULT_ENDPOINTING_MS = 10


class Options(BaseModel):
    """The query of a request; parameters that make no difference here are let through."""

    model_config = ConfigDict(extra="ignore")

    model: str
    language: str = Field(default="en", pattern=r"^(multi|[a-z]{2}(-[A-Za-z0-9]{2,4})?)$")
    encoding: Literal["mulaw"]
    sample_rate: Literal["8000"]
    channels: Literal["1"] = "1"
    interim_results: bool = False
    smart_format: bool = False
    punctuate: bool = False
    vad_events: bool = False
    endpointing: int | None = Field(default=_DEFAULT_ENDPOINTING_MS, ge=0)
    utterance_end_ms: int | None = Field(default=None, ge=1000)
    keyterm: tuple[str, ...] = ()

    @field_validator("endpointing", mode="before")
    @classmethod
    def _may_be_off(cls, value: Any) -> Any:
        return None if value == "false" else _DEFAULT_ENDPOINTING_MS if value == "true" else value


@dataclass(frozen=True, slots=True)
class Habits:
    """How the vendor behaves, for tests that cannot wait."""

    patience_s: float = 10.0
    """The socket is closed after so long without audio or KeepAlive."""
    answers_finalize: bool = True
    """False: the audio is final and nothing says so, as may happen with very little of it."""


class Connection:
    """One stream."""

    def __init__(self, options: Options, behaviour: Behaviour, book: PhraseBook, habits: Habits) -> None:
        """`run` does the rest."""
        self._options = options
        self._behaviour = behaviour
        self._habits = habits
        self._hearing = Hearing(options.endpointing, options.utterance_end_ms)
        self._scribe = Scribe(book)
        self._messages = Messages(options.model, formatted=options.smart_format or options.punctuate)
        self._socket = web.WebSocketResponse()
        self._length = 0
        self._events: asyncio.Queue[tuple[float, Event] | None] = asyncio.Queue()
        """(when it may be told on the loop's clock, event); None: the stream ends."""

    async def run(self, request: web.Request) -> web.WebSocketResponse:
        """Serve the socket to its end."""
        self._socket.headers["dg-request-id"] = self._messages.request_id
        await self._socket.prepare(request)
        telling = asyncio.create_task(self._tell())
        try:
            if await self._listen():
                self._hear(self._hearing.finalize())
                self._events.put_nowait(None)
                await telling
        except TimeoutError:
            await self._socket.close(code=_INTERNAL_ERROR, message=_NO_AUDIO.encode())
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling
        return self._socket

    async def _listen(self) -> bool:
        """Take what comes; True when the client closes the stream, False when it is gone.

        Raises TimeoutError when it sends neither audio nor KeepAlive.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._habits.patience_s
        while True:
            async with asyncio.timeout_at(deadline):
                received = await self._socket.receive()
            if received.type is WSMsgType.BINARY and received.data:
                deadline = loop.time() + self._habits.patience_s
                self._take(received.data)
            elif received.type is WSMsgType.TEXT:
                kind = _type_of(received.data)
                if kind == "CloseStream":
                    return True
                if kind == "KeepAlive":
                    deadline = loop.time() + self._habits.patience_s
                elif kind == "Finalize":
                    self._hear(self._hearing.finalize())
                else:
                    await self._socket.send_json(self._messages.error(received.data))
            else:
                # An empty binary message also closes the stream.
                return received.type is WSMsgType.BINARY

    def _take(self, audio: bytes) -> None:
        self._length += len(audio)
        self._messages.audio(audio)
        for event in self._hearing.feed(audio):
            self._hear(event)

    def _hear(self, event: Event | None) -> None:
        if event is not None:
            final = isinstance(event, Segment) and event.is_final and bool(event.speech)
            delay_s = self._behaviour.stt_final_ms / 1000 if final else 0.0
            self._events.put_nowait((asyncio.get_running_loop().time() + delay_s, event))

    async def _tell(self) -> None:
        """One teller, so that messages keep their order."""
        with suppress(ConnectionResetError):
            while (item := await self._events.get()) is not None:
                due, event = item
                if (message := await self._message(event)) is not None:
                    await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
                    await self._socket.send_json(message)
            await self._socket.send_json(self._messages.metadata(self._length))
            await self._socket.close()

    async def _message(self, event: Event) -> dict[str, Any] | None:
        if isinstance(event, Began):
            return self._messages.speech_started(event.at) if self._options.vad_events else None
        if isinstance(event, Ended):
            return self._messages.utterance_end(event.at)
        if not event.is_final and not self._options.interim_results:
            return None
        # Comparing with every known phrase would hold up the other sockets.
        transcript = await asyncio.to_thread(self._scribe.read, event)
        if event.from_finalize and not self._habits.answers_finalize:
            return None
        return self._messages.results(event, transcript)


def _type_of(text: str) -> object:
    try:
        message = json.loads(text)
    except ValueError:
        return None
    return message.get("type") if isinstance(message, dict) else None
