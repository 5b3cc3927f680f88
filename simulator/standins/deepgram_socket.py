"""The listen v1 socket of the Deepgram stand-in.

Source: Deepgram's API reference ("Live Audio") and its pages on Finalize, Audio Keep Alive, Endpointing and
Utterance End. A Finalize with nothing left to process is not answered, as there.
"""

import asyncio
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from simulator.ear import PhraseBook
from simulator.standins.behaviour import Behaviour
from simulator.standins.deepgram_connection import Connection, Habits, Told
from simulator.standins.deepgram_hearing import Began, Ended, Event, Hearing
from simulator.standins.deepgram_results import Messages
from simulator.standins.deepgram_scribe import Scribe

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


class Live(Connection[Event]):
    """One stream."""

    def __init__(self, options: Options, behaviour: Behaviour, book: PhraseBook, habits: Habits) -> None:
        """`run` does the rest."""
        self._options = options
        self._hearing = Hearing(options.endpointing if habits.endpoints else None, options.utterance_end_ms)
        self._scribe = Scribe(book)
        self._messages = Messages(options.model, formatted=options.smart_format or options.punctuate)
        self._length = 0
        self._last_word_end: int | None = None
        """Where the words end that no UtteranceEnd was told about; None: there are none."""
        super().__init__(behaviour, habits, self._messages.request_id)

    def take(self, audio: bytes) -> None:
        self._length += len(audio)
        self._messages.audio(audio)
        for event in self._hearing.feed(audio):
            self.happened(event)

    async def obey(self, kind: object, text: str) -> bool:
        if kind == "Finalize":
            self.finish()
        elif kind != "KeepAlive":
            await self._socket.send(self._messages.error(text))
        return kind == "KeepAlive"

    def finish(self) -> None:
        if (segment := self._hearing.finalize()) is not None:
            self.happened(segment)

    def farewell(self) -> list[dict[str, Any]]:
        return [self._messages.metadata(self._length)]

    async def messages(self, event: Event) -> list[Told]:
        if isinstance(event, Began):
            return [Told(self._messages.speech_started(event.at))] if self._options.vad_events else []
        if isinstance(event, Ended):
            return self._utterance_end()
        if not event.is_final and not self._options.interim_results:
            return []
        if (transcript := self._scribe.recall(event)) is None:
            # Comparing with every known phrase would hold up the other sockets.
            transcript = await asyncio.to_thread(self._scribe.read, event)
        if transcript.words:
            self._last_word_end = transcript.words[-1].end
        if event.from_finalize and not self._habits.answers_finalize:
            return []
        return [Told(self._messages.results(event, transcript), event.is_final and bool(event.speech))]

    def _utterance_end(self) -> list[Told]:
        """Only words have an end: sounds without any are not told about."""
        at, self._last_word_end = self._last_word_end, None
        return [] if at is None else [Told(self._messages.utterance_end(at))]
