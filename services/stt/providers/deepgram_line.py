"""A call's socket at Deepgram, whatever is spoken over it: lost once at most, and closed quickly."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import structlog

from services.stt.provider import Failure
from services.stt.providers.deepgram_messages import DeepgramMessage, read
from services.stt.providers.deepgram_sdk import AsyncV1SocketClient, AsyncV2SocketClient
from services.stt.providers.deepgram_socket import CLOSE_S, ConnectionClosed, WebSocketException, under
from shared.deadline import Deadline
from shared.provider_errors import ProviderLost

log = structlog.get_logger()


class RecognitionLost(ProviderLost):
    """Deepgram does not listen any more; the message says why."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a stream waits."""

    finish_s: float = 1.0
    """For the answer to `finish`, before the utterance counts as complete without it."""
    keep_alive_s: float = 4.0
    """Without audio, before a KeepAlive: Deepgram wants one every 3 to 5 s, and closes after 10. Flux knows none."""
    turn_s: float = 1.0
    """For Flux to end a turn, once the longest silence within it is over."""
    silence_s: float = 1.5
    """For any word of Flux, while it hears audio: it has one four times a second."""


class DeepgramLine:
    """One open socket and the tasks that work with it."""

    def __init__(
        self, socket: AsyncV1SocketClient | AsyncV2SocketClient, stack: AsyncExitStack, failure: Failure
    ) -> None:
        """Leaving `stack` closes `socket`; both belong to the line from now on, inside a running loop."""
        self._socket = socket
        self._stack = stack
        self._failure = failure
        self._loop = asyncio.get_running_loop()
        self._tasks: list[asyncio.Task[None]] = []
        self.over = False
        """Lost or closed: nobody hears of it any more."""

    def run(self, work: Coroutine[None, None, None]) -> None:
        """Work until the line is closed; what it raises loses the line."""
        task = asyncio.create_task(work)
        self._tasks.append(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """The line is lost: told once."""
        if self.over:
            return
        self.over = True
        self._failure(RecognitionLost(f"Deepgram: {error}") if isinstance(error, ConnectionClosed) else error)

    def after(self, seconds: float, work: Callable[[], None]) -> Deadline:
        """Do it later, unless the line is over by then."""
        return Deadline(seconds, lambda: None if self.over else work())

    async def messages(self) -> AsyncIterator[DeepgramMessage]:
        """What Deepgram says, until the line is over. Raises ConnectionClosed, RecognitionLost when it has ended."""
        # Past the SDK's models, which cost more than all the rest.
        async for message in under(self._socket):
            if self.over:
                return
            if (said := read(message)) is not None:
                yield said
        raise RecognitionLost("Deepgram closed the socket")

    async def send(self, sending: Awaitable[None]) -> None:
        """Wait for something to be sent. Never raises for a socket that is gone: the failure is told."""
        try:
            await sending
        except ConnectionClosed as error:
            self.fail(error)

    async def close(self) -> None:
        """Never raises, never takes longer than a second."""
        self.over = True
        for task in self._tasks:
            task.cancel()
        # A peer that takes nothing any more must not hold up what is sent last.
        giving_up = self._loop.call_later(CLOSE_S, under(self._socket).abort)
        try:
            with suppress(ConnectionClosed):
                await self._socket.send_close_stream()
            await self._stack.aclose()
        except (WebSocketException, OSError) as error:
            log.debug("deepgram_gone", error=repr(error))
        finally:
            giving_up.cancel()
        await asyncio.wait(self._tasks)
