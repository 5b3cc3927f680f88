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
    receiver = "llm, gateway"

    utterance: int
    """Counts the caller's utterances from 1."""
    t_ms: int
    """Where the sound began on the caller's timeline."""
    began_at: float = 0.0
    """Unix time in seconds at which that sound reached the stage; 0: not known."""
    line: int = 0
    """The number of the line that the caller's timeline belongs to."""


class SpeechSustained(Message):
    """The caller's voice has lasted `turns.barge_in.min_speech_ms`, and again when it has lasted `confirm_ms`.

    The agent's own voice, coming back as echo, does not count.
    """

    suffix = "speech.sustained"
    sender = ("stt",)
    receiver = "llm"

    utterance: int
    t_ms: int
    """Where on the caller's timeline that was."""
    speech_ms: int
    """How much of the utterance was voice by then."""
    reached_at: float
    """Unix time in seconds at which the sample at `t_ms` reached the stage."""


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
    likely_over: bool = False
    """The provider thinks that the caller's turn ends here, and is not sure yet (Flux: EagerEndOfTurn)."""


class SpeechFinal(Message):
    """A piece of transcript that will not change; the pieces of an utterance follow each other."""

    suffix = "speech.final"
    sender = ("stt",)
    receiver = "llm, gateway"

    utterance: int
    text: str
    """May be empty: the provider heard no words in the utterance."""
    words: tuple[Word, ...] = ()
    confidence: float = 1.0
    complete: bool
    """No more text will come for this utterance."""
    turn_over: bool = False
    """The provider is sure that the caller's turn is over (Flux: EndOfTurn): no silence need be waited for."""
    until_ms: int | None = None
    """Where on the caller's timeline the audio ends whose words are told for good now: another worker that takes
    over has to hear only what comes after it. None: not known."""
    line: int = 0
    """The number of the line that the caller's timeline belongs to."""
