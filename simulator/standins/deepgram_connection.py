"""What the sockets of the Deepgram stand-in have in common, of listen v1 and of v2.

Source: Deepgram's API reference and its pages on Close Stream and socket errors.
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from aiohttp import WSMsgType, web

from simulator.standins.behaviour import Behaviour
from simulator.standins.faults import FaultySocket, VendorFails

_INTERNAL_ERROR, _POLICY_VIOLATION = 1011, 1008
_NO_AUDIO = "NET-0001"
_FAILURES = {"429": (_POLICY_VIOLATION, "Too many requests"), "500": (_INTERNAL_ERROR, "NET-0000")}
"""How a socket is closed that the vendor cannot serve any more: code and reason."""
_GARBAGE = ('{"type": "Results", "channel": 7}', '{"type": "TurnInfo", "words": 7}', '{"type": "Nonsense"}')

Event = TypeVar("Event")


@dataclass(frozen=True, slots=True)
class Habits:
    """How the vendor behaves, for tests that cannot wait."""

    patience_s: float = 10.0
    """The socket is closed after so long without audio or KeepAlive."""
    answers_finalize: bool = True
    """False: the audio is final and nothing says so, as may happen with very little of it."""
    endpoints: bool = True
    """False: noise keeps the vendor from hearing that the caller is silent."""
    ends_turns: bool = True
    """False: Flux never ends a turn."""


@dataclass(frozen=True, slots=True)
class Told:
    """A message; `final`: the vendor takes its time for it."""

    message: dict[str, Any]
    final: bool = False


class Connection(Generic[Event]):
    """One stream: audio and commands in, events in their order, messages out."""

    def __init__(self, behaviour: Behaviour, habits: Habits, request_id: str) -> None:
        """`run` does the rest."""
        self._behaviour = behaviour
        self._habits = habits
        self._request_id = request_id
        self._socket = FaultySocket(lambda: behaviour.stt_fault, _GARBAGE)
        self._events: asyncio.Queue[tuple[float, Event] | None] = asyncio.Queue()
        """(when it happened on the loop's clock, event); None: the stream ends."""

    def greet(self) -> list[dict[str, Any]]:
        """What is said first."""
        return []

    def take(self, audio: bytes) -> None:
        """The next audio."""
        raise NotImplementedError

    async def obey(self, kind: object, text: str) -> bool:
        """A text message of `kind`, which is not CloseStream; True: it counts as a sign of life."""
        raise NotImplementedError

    async def messages(self, event: Event) -> list[Told]:
        """What is said about an event."""
        raise NotImplementedError

    def finish(self) -> None:
        """No more audio comes."""

    def complain(self, status: str) -> list[dict[str, Any]]:
        """What is said before the vendor closes a socket that it cannot serve; `status`: 429 or 500."""
        return []

    def farewell(self) -> list[dict[str, Any]]:
        """What is said last."""
        return []

    def happened(self, event: Event) -> None:
        """To be told when its turn comes."""
        self._events.put_nowait((asyncio.get_running_loop().time(), event))

    async def run(self, request: web.Request) -> web.WebSocketResponse:
        """Serve the socket to its end."""
        socket = self._socket.socket
        socket.headers["dg-request-id"] = self._request_id
        await self._socket.open(request)
        telling = asyncio.create_task(self._tell())
        try:
            if await self._listen():
                self.finish()
                self._events.put_nowait(None)
                await telling
        except TimeoutError:
            await socket.close(code=_INTERNAL_ERROR, message=_NO_AUDIO.encode())
        except VendorFails as failing:
            await self._fail(failing)
        except ConnectionResetError:
            # Dropped.
            pass
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling
        return socket

    async def _fail(self, failing: VendorFails) -> None:
        code, reason = _FAILURES[failing.status]
        with suppress(ConnectionResetError):
            for message in self.complain(failing.status):
                await self._socket.socket.send_json(message)
            await self._socket.socket.close(code=code, message=reason.encode())

    async def _listen(self) -> bool:
        """Take what comes; True when the client closes the stream, False when it is gone.

        Raises TimeoutError when it gives no sign of life.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._habits.patience_s
        while True:
            received = await self._socket.receive(deadline)
            alive = False
            if received.type is WSMsgType.BINARY and received.data:
                alive = True
                self.take(received.data)
            elif received.type is WSMsgType.TEXT:
                kind = _type_of(received.data)
                if kind == "CloseStream":
                    return True
                alive = await self.obey(kind, received.data)
            else:
                # An empty binary message also closes the stream.
                return received.type is WSMsgType.BINARY
            if alive:
                deadline = loop.time() + self._habits.patience_s

    async def _tell(self) -> None:
        """One teller, so that messages keep their order."""
        try:
            await self._tell_all()
        except VendorFails as failing:
            await self._fail(failing)
        except ConnectionResetError:
            return

    async def _tell_all(self) -> None:
        loop = asyncio.get_running_loop()
        for message in self.greet():
            await self._socket.send(message)
        while (item := await self._events.get()) is not None:
            happened_at, event = item
            for told in await self.messages(event):
                if told.final:
                    await asyncio.sleep(max(0.0, happened_at + self._behaviour.stt_final_ms / 1000 - loop.time()))
                await self._socket.send(told.message)
        for message in self.farewell():
            await self._socket.send(message)
        await self._socket.socket.close()


def _type_of(text: str) -> object:
    try:
        message = json.loads(text)
    except ValueError:
        return None
    return message.get("type") if isinstance(message, dict) else None
