"""What the Deepgram stand-in understands: known phrases, also when they come in pieces."""

from collections.abc import Callable
from dataclasses import dataclass

from shared.audio import SILENCE, bytes_of
from simulator.ear import PhraseBook, Recalled
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

    def recall(self, segment: Segment) -> Transcript | None:
        """Understands what is known byte by byte, in some microseconds; None: `read` it."""
        if not segment.speech:
            return Transcript()
        return self._understand(segment, self._book.recall)

    def read(self, segment: Segment) -> Transcript:
        """Takes up to a millisecond for each phrase in the book."""
        if not segment.speech:
            return Transcript()
        if (understood := self._understand(segment, self._compare)) is not None:
            return understood
        if segment.is_final:
            self._before = _Phrase(segment.speech, segment.speech_start + len(segment.speech), "")
        return Transcript()

    def _understand(self, segment: Segment, hear: Callable[[bytes], Recalled | None]) -> Transcript | None:
        speech, known = self._with_what_came_before(segment), self._before.text if self._before else ""
        recalled = hear(speech)
        if speech != segment.speech and (recalled is None or not recalled.heard.text.startswith(known)):
            speech, known = segment.speech, ""
            recalled = hear(speech)
        if recalled is None:
            return None
        heard = recalled.heard
        if segment.is_final:
            self._before = _Phrase(speech, segment.speech_start + len(segment.speech), heard.text)
        words = _spread(heard.text[len(known) :], segment)
        return Transcript(words, heard.score if heard.text else 0.0, recalled.whole)

    def _compare(self, speech: bytes) -> Recalled | None:
        if (heard := self._book.recognise(speech)) is not None:
            return Recalled(heard, whole=True)
        heard = self._book.recognise_beginning(speech)
        return None if heard is None else Recalled(heard, whole=False)

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
