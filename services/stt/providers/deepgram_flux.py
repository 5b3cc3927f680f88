"""One call's recognition by Deepgram's Flux: a listen v2 socket that is open as long as the call.

Protocol: Deepgram's API reference ("Turn-based Audio (Flux)"). It has neither Finalize nor KeepAlive: silence is
sent as audio. Its messages are dear: the SDK takes some 100 µs for each, four times a second, also in silence.
"""

import asyncio

import structlog

from services.stt.provider import Hypothesis, Listener
from services.stt.providers.deepgram_line import DeepgramLine, Patience, RecognitionLost
from services.stt.providers.deepgram_sdk import AsyncV2SocketClient
from services.stt.providers.deepgram_turns import FluxTurns
from shared.audio import RATE, bytes_of

log = structlog.get_logger()

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
        self._finish_s = patience.finish_s
        self._turn_s = eot_timeout_ms / 1000 + patience.turn_s
        self._turns = FluxTurns()
        self._fed_bytes = 0
        self._chunk = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        line.run(self._read())

    async def feed(self, mulaw: bytes) -> None:
        if self._line.over:
            return
        self._fed_bytes += len(mulaw)
        self._chunk += mulaw
        if len(self._chunk) >= _CHUNK:
            chunk = bytes(self._chunk)
            self._chunk.clear()
            await self._line.send(self._socket.send_media(chunk))

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
        log.info("deepgram_turn_unanswered", open=self._turns.open)
        self._tell(self._turns.give_up())

    async def _read(self) -> None:
        async for message in self._socket:
            kind = getattr(message, "type", None)
            if self._line.over:
                return
            if kind == "TurnInfo":
                was_open = self._turns.open
                hypotheses = self._turns.hear(message)
                self._tell(hypotheses)
                if hypotheses or self._turns.open != was_open:
                    self._wait()
            elif kind == "Error":
                raise RecognitionLost(f"Deepgram: {message.code}: {message.description}")
            elif kind == "Warning":
                log.warning("deepgram_warning", code=message.code, description=message.description)
        raise RecognitionLost("Deepgram closed the socket")

    def _tell(self, hypotheses: list[Hypothesis]) -> None:
        for hypothesis in hypotheses:
            self._listener(hypothesis)

    async def close(self) -> None:
        await self._line.close()
