"""The listen v2 socket of the Deepgram stand-in: Flux.

Source: Deepgram's API reference ("Turn-based Audio (Flux)") and its page "End-of-Turn Detection Parameters".
"""

import asyncio
import uuid
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from simulator.ear import PhraseBook
from simulator.standins.behaviour import Behaviour
from simulator.standins.deepgram_connection import Connection, Habits, Told
from simulator.standins.deepgram_flux_hearing import FluxHearing, Moment
from simulator.standins.deepgram_flux_turn import FluxTurn, Said
from simulator.standins.deepgram_hearing import seconds
from simulator.standins.deepgram_scribe import Scribe


class FluxOptions(BaseModel):
    """The query of a request; parameters that make no difference here are let through."""

    model_config = ConfigDict(extra="ignore")

    model: Literal["flux-general-en", "flux-general-multi"]
    encoding: Literal["mulaw"]
    sample_rate: Literal["8000"]
    eot_threshold: float = Field(default=0.7, ge=0.5, le=1.0)
    eager_eot_threshold: float | None = Field(default=None, ge=0.3, le=0.9)
    eot_timeout_ms: int = Field(default=5000, ge=500, le=60_000)
    keyterm: tuple[str, ...] = ()
    language_hint: tuple[str, ...] = ()


class Flux(Connection[Moment]):
    """One stream."""

    def __init__(self, options: FluxOptions, behaviour: Behaviour, book: PhraseBook, habits: Habits) -> None:
        """`run` does the rest."""
        self._options = options
        end_ms, timeout_ms = behaviour.stt_turn_ms, options.eot_timeout_ms
        self._hearing = FluxHearing(behaviour.stt_eager_ms, (end_ms, timeout_ms))
        self._turn = FluxTurn(
            eager=options.eager_eot_threshold is not None,
            end_ms=end_ms if options.eot_threshold < 1 else None,
            timeout_ms=timeout_ms,
        )
        self._scribe = Scribe(book)
        self._sequence = 0
        super().__init__(behaviour, habits, str(uuid.uuid4()))

    def _message(self, kind: str, **fields: Any) -> dict[str, Any]:
        message = {"type": kind, "request_id": self._request_id, "sequence_id": self._sequence, **fields}
        self._sequence += 1
        return message

    def greet(self) -> list[dict[str, Any]]:
        return [self._message("Connected")]

    def take(self, audio: bytes) -> None:
        for moment in self._hearing.feed(audio):
            self.happened(moment)

    async def obey(self, kind: object, text: str) -> bool:
        await self._socket.send(self._error("UNPARSABLE_CLIENT_MESSAGE", "The message is none that Flux knows."))
        await self._socket.socket.close()
        return False

    def _error(self, code: str, description: str) -> dict[str, Any]:
        message = self._message("Error", code=code, description=description)
        del message["request_id"]
        return message

    def complain(self, status: str) -> list[dict[str, Any]]:
        code = "TOO_MANY_REQUESTS" if status == "429" else "INTERNAL_SERVER_ERROR"
        return [self._error(code, "The stream cannot go on.")]

    async def messages(self, event: Moment) -> list[Told]:
        if (heard := self._scribe.recall(event.segment)) is None:
            # Comparing with every known phrase would hold up the other sockets.
            heard = await asyncio.to_thread(self._scribe.read, event.segment)
        told = []
        for said in self._turn.step(event, heard):
            over = said.event == "EndOfTurn"
            if not over or self._habits.ends_turns:
                told.append(Told(self._turn_info(said), over))
        return told

    def _turn_info(self, said: Said) -> dict[str, Any]:
        confidence = round(said.recognition, 4)
        fields: dict[str, Any] = {
            "event": said.event,
            "turn_index": said.turn,
            "audio_window_start": seconds(said.start),
            "audio_window_end": seconds(said.end),
            "transcript": " ".join(word.text for word in said.words),
            "words": [
                {"word": word.text, "confidence": confidence, "start": seconds(word.start), "end": seconds(word.end)}
                for word in said.words
            ],
            "end_of_turn_confidence": round(self._certainty(said), 4),
        }
        if said.trigger is not None:
            fields["trigger"] = said.trigger
        if self._options.model == "flux-general-multi":
            fields["languages"] = ["en"] if said.words else []
            if self._options.language_hint:
                fields["languages_hinted"] = list(self._options.language_hint)
        return self._message("TurnInfo", **fields)

    def _certainty(self, said: Said) -> float:
        """That the turn is over; between the thresholds where the vendor's would be."""
        end, eager = self._options.eot_threshold, self._options.eager_eot_threshold
        if said.event == "EndOfTurn":
            return (1 + end) / 2 if said.trigger == "model" else end / 2
        return (eager + end) / 2 if said.event == "EagerEndOfTurn" and eager is not None else 0.05
