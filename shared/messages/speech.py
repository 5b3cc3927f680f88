"""What the caller says, as the stt stage hears it."""

from pydantic import BaseModel, ConfigDict

from shared.messages.base import Message


class Word(BaseModel):
    """One recognised word on the caller's timeline."""

    model_config = ConfigDict(frozen=True)

    text: str
    start_ms: int
    end_ms: int
    confidence: float = 1.0


class SpeechStarted(Message):
    """The caller began to make speech sounds (voice activity)."""

    suffix = "speech.started"
    sender = ("stt",)
    receiver = "llm"

    utterance: int
    """Counts the caller's utterances from 1."""
    t_ms: int
    """Where the sound began on the caller's timeline."""


class SpeechStopped(Message):
    """The caller's voice fell silent."""

    suffix = "speech.stopped"
    sender = ("stt",)
    receiver = "llm"

    utterance: int
    t_ms: int
    """Where the last speech sample lies on the caller's timeline."""
    ended_at: float
    """Unix time in seconds at which that sample reached the stage."""


class SpeechPartial(Message):
    """An interim transcript; later ones of the same utterance replace it."""

    suffix = "speech.partial"
    sender = ("stt",)
    receiver = "llm"

    utterance: int
    text: str
    confidence: float = 1.0


class SpeechFinal(Message):
    """A piece of transcript that will not change; the pieces of an utterance follow each other."""

    suffix = "speech.final"
    sender = ("stt",)
    receiver = "llm"

    utterance: int
    text: str
    """May be empty: the provider heard no words in the utterance."""
    words: tuple[Word, ...] = ()
    confidence: float = 1.0
    complete: bool
    """No more text will come for this utterance."""
