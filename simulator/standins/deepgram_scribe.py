"""What the Deepgram stand-in understands: known phrases, also when they come in pieces."""

from dataclasses import dataclass

from shared.audio import SILENCE, bytes_of
from simulator.ear import Heard, PhraseBook
from simulator.standins.deepgram_hearing import Segment

_LONGEST_PAUSE = bytes_of(1500)
"""Within a phrase."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a transcript; positions in the stream in bytes."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was understood of a segment; empty when nothing was."""

    words: tuple[Word, ...] = ()
    confidence: float = 0.0
    whole: bool = False
    """It ends as a known phrase does."""

    @property
    def text(self) -> str:
        """The words, formatted."""
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True, slots=True)
class _Phrase:
    """Speech whose words are final, and which may go on after a pause."""

    speech: bytes
    end: int
    text: str


class Scribe:
    """Understands one stream's segments, in their order."""

    def __init__(self, book: PhraseBook) -> None:
        """`book` may learn more while the stream runs."""
        self._book = book
        self._before: _Phrase | None = None

    def read(self, segment: Segment) -> Transcript:
        """Takes some milliseconds for each phrase in the book."""
        if not segment.speech:
            return Transcript()
        speech, known = self._with_what_came_before(segment), self._before.text if self._before else ""
        heard, whole = self._hear(speech)
        if speech != segment.speech and (heard is None or not heard.text.startswith(known)):
            speech, known = segment.speech, ""
            heard, whole = self._hear(speech)
        text = "" if heard is None else heard.text
        if segment.is_final:
            self._before = _Phrase(speech, segment.speech_start + len(segment.speech), text)
        if heard is None:
            return Transcript()
        return Transcript(_spread(text[len(known) :], segment), heard.score, whole)

    def _hear(self, speech: bytes) -> tuple[Heard | None, bool]:
        """What was said, and whether it is a whole phrase."""
        heard = self._book.recognise(speech)
        return (heard, True) if heard is not None else (self._book.recognise_beginning(speech), False)

    def _with_what_came_before(self, segment: Segment) -> bytes:
        """A caller's short pause lets the client finalize in mid-phrase: what was said goes on."""
        if self._before is not None and segment.speech_start - self._before.end > _LONGEST_PAUSE:
            self._before = None
        if self._before is None:
            return segment.speech
        pause = SILENCE * (segment.speech_start - self._before.end)
        return self._before.speech + pause + segment.speech


def _spread(text: str, segment: Segment) -> tuple[Word, ...]:
    """The words of `text` over the speech of `segment`, each as long as its letters."""
    words = text.split()
    letters, each = 0, len(segment.speech) / max(1, sum(len(word) for word in words))
    timed: list[Word] = []
    for word in words:
        start = segment.speech_start + round(letters * each)
        letters += len(word)
        timed.append(Word(word, start, segment.speech_start + round(letters * each)))
    return tuple(timed)
