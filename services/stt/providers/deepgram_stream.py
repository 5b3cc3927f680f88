"""One call's recognition at Deepgram: a listen v1 socket that is open as long as the call.

Protocol: Deepgram's API reference ("Live Audio") and its pages on Finalize and Audio Keep Alive.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import structlog
from websockets.exceptions import ConnectionClosed, WebSocketException

from services.stt.provider import Failure, Hypothesis, Listener
from services.stt.providers.deepgram_finalizes import Finalize, Finalizes
from services.stt.providers.deepgram_sdk import AsyncV1SocketClient, ListenV1Results
from shared.audio import RATE
from shared.messages import Word

log = structlog.get_logger()

_CLOSE_S = 0.8


class RecognitionLost(Exception):
    """Deepgram does not listen any more; the message says why."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the stream waits."""

    finish_s: float = 1.0
    """For the answer to a Finalize, before the utterance counts as complete without it."""
    keep_alive_s: float = 4.0
    """Without audio, before a KeepAlive: Deepgram wants one every 3 to 5 s, and closes after 10."""


class DeepgramStream:
    """A transcriber."""

    def __init__(
        self,
        model: str,
        socket: AsyncV1SocketClient,
        stack: AsyncExitStack,
        listener: Listener,
        failure: Failure,
        patience: Patience,
    ) -> None:
        """Leaving `stack` closes `socket`; both belong to the stream from now on, inside a running loop."""
        self.model = model
        self._socket = socket
        self._stack = stack
        self._listener = listener
        self._failure = failure
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._over = False
        """Lost or closed: nobody hears of it any more."""
        self._sent_bytes = 0
        self._sent_at = self._loop.time()
        self._finalizes = Finalizes()
        self._timers: dict[Finalize, asyncio.TimerHandle] = {}
        self._tasks = [self._run(self._read()), self._run(self._keep_alive())]

    def _run(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self._over:
            return
        self._stop()
        self._failure(RecognitionLost(f"Deepgram: {error}") if isinstance(error, ConnectionClosed) else error)

    def _stop(self) -> None:
        self._over = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    async def feed(self, mulaw: bytes) -> None:
        if self._over:
            return
        self._sent_bytes += len(mulaw)
        self._sent_at = self._loop.time()
        try:
            await self._socket.send_media(mulaw)
        except ConnectionClosed as error:
            self._fail(error)

    async def begin(self) -> None:
        """Deepgram hears it by itself."""

    async def finish(self) -> None:
        if self._over:
            return
        finalize = self._finalizes.ask(self._sent_bytes * 1000 // RATE)
        if not finalize.open:
            # Deepgram would have nothing to process, and maybe not answer.
            self._complete(1)
            return
        self._timers[finalize] = self._loop.call_later(self._patience.finish_s, self._expire, finalize)
        try:
            await self._socket.send_finalize()
        except ConnectionClosed as error:
            self._fail(error)

    def _expire(self, finalize: Finalize) -> None:
        log.info("deepgram_finalize_unanswered", after_s=self._patience.finish_s)
        self._complete(self._forget(self._finalizes.expire(finalize)))

    def _forget(self, settled: list[Finalize]) -> int:
        for finalize in settled:
            self._timers.pop(finalize).cancel()
        return len(settled)

    def _complete(self, times: int) -> None:
        for _ in range(times):
            self._listener(Hypothesis("", final=True, complete=True))

    async def _read(self) -> None:
        async for message in self._socket:
            kind = getattr(message, "type", None)
            if self._over:
                return
            if kind == "Results":
                self._hear(message)
            elif kind == "Error":
                log.warning("deepgram_error", variant=message.variant, description=message.description)
        raise RecognitionLost("Deepgram closed the socket")

    def _hear(self, results: ListenV1Results) -> None:
        best = results.channel.alternatives[0] if results.channel.alternatives else None
        text = best.transcript if best is not None else ""
        confidence = best.confidence if best is not None and text else 1.0
        if not results.is_final:
            if text:
                self._listener(Hypothesis(text, final=False, confidence=confidence))
            return
        end_ms = _ms(results.start + results.duration)
        answered = self._forget(self._finalizes.settle(end_ms, from_finalize=bool(results.from_finalize)))
        # An older Finalize that got no answer of its own had no text left.
        self._complete(answered - 1)
        if text or answered:
            words = tuple(
                Word(
                    text=word.punctuated_word or word.word,
                    start_ms=_ms(word.start),
                    end_ms=_ms(word.end),
                    confidence=word.confidence,
                )
                for word in (best.words if best is not None else ())
            )
            self._listener(Hypothesis(text, final=True, complete=bool(answered), confidence=confidence, words=words))

    async def _keep_alive(self) -> None:
        while True:
            silent_s = self._loop.time() - self._sent_at
            if silent_s < self._patience.keep_alive_s:
                await asyncio.sleep(self._patience.keep_alive_s - silent_s)
                continue
            self._sent_at = self._loop.time()
            await self._socket.send_keep_alive()

    async def close(self) -> None:
        self._stop()
        for task in self._tasks:
            task.cancel()
        # A peer that does not answer holds the library up for ten seconds, and a cancellation does not stop that.
        giving_up = self._loop.call_later(_CLOSE_S, self._socket._websocket.transport.abort)
        try:
            with suppress(ConnectionClosed):
                await self._socket.send_close_stream()
            await self._stack.aclose()
        except (WebSocketException, OSError) as error:
            log.debug("deepgram_gone", error=repr(error))
        finally:
            giving_up.cancel()
        await asyncio.wait(self._tasks)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
