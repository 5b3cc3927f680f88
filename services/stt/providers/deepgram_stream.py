"""One call's recognition by Deepgram's Nova: a listen v1 socket that is open as long as the call.

Protocol: Deepgram's API reference ("Live Audio") and its pages on Finalize, Endpointing, Utterance End and
Audio Keep Alive.
"""

import asyncio
from collections.abc import Sequence

import structlog

from services.stt.provider import Hypothesis, Listener, ends
from services.stt.providers.deepgram_finalizes import Finalize, Finalizes
from services.stt.providers.deepgram_line import DeepgramLine, Patience
from services.stt.providers.deepgram_messages import Error, NovaWord, Results, UtteranceEnd
from services.stt.providers.deepgram_sdk import AsyncV1SocketClient
from shared.audio import RATE, bytes_of
from shared.deadline import Deadline
from shared.messages import Word

log = structlog.get_logger()

_CHUNK = bytes_of(60)
"""Each message costs both sides the same, whatever its length. Deepgram's documentation asks for 20 to 250 ms."""
_SAME_WORD_MS = 100
"""The times of a word differ so much between the messages that tell of it."""


class DeepgramStream:
    """A transcriber. Finalize ends each utterance; without one, Deepgram tells when the caller fell silent."""

    def __init__(
        self, model: str, socket: AsyncV1SocketClient, line: DeepgramLine, listener: Listener, patience: Patience
    ) -> None:
        """`line` holds `socket`. Needs a running loop."""
        self.model = model
        self._socket = socket
        self._line = line
        self._listener = listener
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._chunk = bytearray()
        self._sent_bytes = 0
        self._sent_at = self._heard_at = self._loop.time()
        self._finalizes = Finalizes()
        self._timers: dict[Finalize, Deadline] = {}
        self._interim_until_ms: int | None = None
        """Where the newest interim transcript ends; None: all words are final."""
        self._final_until_ms: int | None = None
        """The same of the final ones of an utterance that is not complete; None: it has none."""
        line.run(self._read())
        line.run(self._keep_alive())

    async def feed(self, mulaw: bytes) -> None:
        if self._line.over:
            return
        self._chunk += mulaw
        if len(self._chunk) >= _CHUNK:
            await self._flush()

    async def _flush(self) -> None:
        chunk = bytes(self._chunk)
        if chunk:
            self._chunk.clear()
            self._sent_bytes += len(chunk)
            self._sent_at = self._loop.time()
            await self._line.send(self._socket.send_media(chunk))

    async def begin(self) -> None:
        """Deepgram hears it by itself."""

    async def finish(self) -> None:
        if not self._line.over:
            await self._finalize()

    async def _finalize(self, silent_from_ms: int | None = None) -> None:
        await self._flush()
        finalize = self._finalizes.ask(self._sent_bytes * 1000 // RATE, silent_from_ms)
        if not finalize.open:
            # Deepgram would have nothing to process, and maybe not answer.
            self._tell("", [finalize])
            return
        asked_at = self._loop.time()
        self._timers[finalize] = self._line.after(self._patience.finish_s, lambda: self._expire(finalize, asked_at))
        await self._line.send(self._socket.send_finalize())

    def _expire(self, finalize: Finalize, asked_at: float) -> None:
        # A Finalize of what is no speech may stay unanswered; words are not left without their final text.
        given_up = self._heard_at < asked_at or self._interim_until_ms is not None
        log.info("deepgram_finalize_unanswered", after_s=self._patience.finish_s, given_up=given_up)
        self._tell("", self._forget(self._finalizes.expire(finalize)), given_up=given_up)

    def _forget(self, settled: list[Finalize]) -> list[Finalize]:
        for finalize in settled:
            self._timers.pop(finalize).cancel()
        return settled

    async def _read(self) -> None:
        async for message in self._line.messages():
            if isinstance(message, Results):
                self._heard_at = self._loop.time()
                self._hear(message)
            elif isinstance(message, UtteranceEnd):
                self._heard_at = self._loop.time()
                await self._end(message)
            elif isinstance(message, Error):
                log.warning("deepgram_error", variant=message.variant, description=message.description)

    def _hear(self, results: Results) -> None:
        best = results.channel.alternatives[0] if results.channel.alternatives else None
        text = best.transcript if best is not None else ""
        confidence = best.confidence if best is not None and text else 1.0
        words: tuple[Word, ...] = ()
        if best is not None and text:
            words = _words(best.words if results.is_final else ends(best.words))
        end_ms = _ms(results.start + results.duration)
        until_ms = (words[-1].end_ms if words else end_ms) if text else None
        if not results.is_final:
            self._interim_until_ms = until_ms
            if text:
                self._listener(Hypothesis(text, final=False, confidence=confidence, words=words))
            return
        self._interim_until_ms = None
        if until_ms is not None:
            self._final_until_ms = until_ms
        settled = self._forget(self._finalizes.settle(end_ms, from_finalize=bool(results.from_finalize)))
        silent = bool(results.speech_final) and not settled and not self._finalizes.waiting
        self._tell(text, settled, words, confidence, self._final_until_ms if silent else None)

    async def _end(self, end: UtteranceEnd) -> None:
        """No word came for long enough."""
        at_ms = _ms(end.last_word_end)
        until_ms = self._final_until_ms if self._interim_until_ms is None else self._interim_until_ms
        # A Finalize that was asked for ends the utterance by itself, and words after the gap go on with it.
        if until_ms is None or self._finalizes.waiting or 0 <= at_ms < until_ms - _SAME_WORD_MS:
            return
        if self._interim_until_ms is None:
            self._tell("", [], silent_from_ms=until_ms)
        else:
            await self._finalize(silent_from_ms=until_ms)

    def _tell(
        self,
        text: str,
        settled: list[Finalize],
        words: Sequence[Word] = (),
        confidence: float = 1.0,
        silent_from_ms: int | None = None,
        *,
        given_up: bool = False,
    ) -> None:
        """A final piece of text, and the answer to the Finalizes that it settles."""
        asked = sum(finalize.silent_from_ms is None for finalize in settled)
        if settled and not asked:
            silent_from_ms = settled[-1].silent_from_ms
        complete = bool(settled) or silent_from_ms is not None
        for _ in range(asked - 1):
            # An older Finalize that got no answer of its own had no text left.
            self._listener(Hypothesis("", final=True, complete=True, given_up=given_up))
        if complete:
            self._final_until_ms = None
        if text or complete:
            times = (tuple(words), silent_from_ms)
            self._listener(Hypothesis(text, True, complete, confidence, *times, given_up=given_up))

    async def _keep_alive(self) -> None:
        while True:
            silent_s = self._loop.time() - self._sent_at
            if silent_s < self._patience.keep_alive_s:
                await asyncio.sleep(self._patience.keep_alive_s - silent_s)
                continue
            self._sent_at = self._loop.time()
            await self._socket.send_keep_alive()

    async def close(self) -> None:
        await self._line.close()


def _words(heard: Sequence[NovaWord]) -> tuple[Word, ...]:
    return tuple(
        Word(
            text=word.punctuated_word or word.word,
            start_ms=_ms(word.start),
            end_ms=_ms(word.end),
            confidence=word.confidence,
        )
        for word in heard
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
