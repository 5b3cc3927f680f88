"""One call's recognition by Deepgram's Flux: a listen v2 socket that is open as long as the call.

Protocol: Deepgram's API reference ("Turn-based Audio (Flux)"). It has neither Finalize nor KeepAlive: silence is
sent as audio. It says something four times a second, also in silence.
"""

import asyncio
from dataclasses import replace

import structlog

from services.stt.provider import Hypothesis, Listener
from services.stt.providers.deepgram_line import DeepgramLine, Patience, RecognitionLost
from services.stt.providers.deepgram_messages import Caution, Error, TurnInfo
from services.stt.providers.deepgram_sdk import AsyncV2SocketClient
from services.stt.providers.deepgram_turns import FluxTurns
from shared.audio import RATE, bytes_of
from shared.deadline import Deadline

log = structlog.get_logger()

_SILENT = bytes_of(500)
"""When Flux has said nothing about so much audio, it is waited for."""
_CHUNK = bytes_of(80)
"""Deepgram strongly recommends it: smaller ones cost accuracy and latency."""


class DeepgramFlux:
    """A transcriber that judges the caller's turns by itself; `finish` is answered when the turn is over."""

    def __init__(
        self,
        model: str,
        socket: AsyncV2SocketClient,
        line: DeepgramLine,
        listener: Listener,
        patience: Patience,
        eot_timeout_ms: int,
    ) -> None:
        """`line` holds `socket`; silence of `eot_timeout_ms` ends a turn in any case. Needs a running loop."""
        self.model = model
        self._socket = socket
        self._line = line
        self._listener = listener
        self._finish_s, self._silence_s = patience.finish_s, patience.silence_s
        self._turn_s = eot_timeout_ms / 1000 + patience.turn_s
        self._turns = FluxTurns()
        self._loop = asyncio.get_running_loop()
        self._fed_bytes = 0
        self._heard_bytes = 0
        """How much was fed when Flux last said something."""
        self._silent_since: float | None = None
        """Since when it is waited for."""
        self._chunk = bytearray()
        self._timer: Deadline | None = None
        line.run(self._read())

    async def feed(self, mulaw: bytes) -> None:
        if self._line.over:
            return
        self._fed_bytes += len(mulaw)
        self._chunk += mulaw
        if len(self._chunk) >= _CHUNK:
            chunk = bytes(self._chunk)
            self._chunk.clear()
            self._check()
            await self._line.send(self._socket.send_media(chunk))

    def _check(self) -> None:
        if self._fed_bytes - self._heard_bytes < _SILENT:
            return
        now = self._loop.time()
        if self._silent_since is None:
            self._silent_since = now
        elif now - self._silent_since > self._silence_s:
            self._line.fail(RecognitionLost("Deepgram says nothing about what it hears", "timeout"))

    async def begin(self) -> None:
        """Flux hears it by itself."""

    async def finish(self) -> None:
        if not self._line.over:
            self._turns.finish(self._fed_bytes * 1000 // RATE)
            self._wait()

    def _wait(self) -> None:
        """An open turn is not cut: its silence may still be a pause. Where none is open, no word was said."""
        if self._timer is not None:
            self._timer.cancel()
        seconds = self._turn_s if self._turns.open else self._finish_s
        self._timer = self._line.after(seconds, self._give_up) if self._turns.waiting else None

    def _give_up(self) -> None:
        given_up = self._silent_since is not None
        log.info("deepgram_turn_unanswered", open=self._turns.open, given_up=given_up)
        self._tell([replace(answer, given_up=given_up) for answer in self._turns.give_up()])

    async def _read(self) -> None:
        async for message in self._line.messages():
            if isinstance(message, TurnInfo):
                self._heard_bytes, self._silent_since = self._fed_bytes, None
                was_open = self._turns.open
                hypotheses = self._turns.hear(message)
                self._tell(hypotheses)
                if hypotheses or self._turns.open != was_open:
                    self._wait()
            elif isinstance(message, Error):
                raise RecognitionLost(f"Deepgram: {message.code}: {message.description}")
            elif isinstance(message, Caution):
                log.warning("deepgram_warning", code=message.code, description=message.description)

    def _tell(self, hypotheses: list[Hypothesis]) -> None:
        for hypothesis in hypotheses:
            self._listener(hypothesis)

    async def close(self) -> None:
        await self._line.close()
