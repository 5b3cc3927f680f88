"""Where speech begins and ends in the audio of the Deepgram stand-in, by its energy. Pure.

Simpler than the vendor: speech is never cut before it pauses, however long it lasts.
"""

from dataclasses import dataclass

from shared.audio import RATE, bytes_of
from shared.pcm import audible

_HOP = bytes_of(10)
_QUIET = bytes(sample for sample, loud in enumerate(audible(bytes(range(256)))) if not loud)
"""μ-law samples that cannot be heard; 10 ms with any other are speech."""
_INTERIM_MS = 500
"""The vendor sends about one interim a second, whatever is said: half a second after the first word on average."""
_LONGEST_SILENCE = bytes_of(5000)
"""Silence is final after so long: an empty transcript says so."""


def seconds(position: int) -> float:
    """A position in the μ-law stream as the vendor writes it."""
    return position / RATE


@dataclass(frozen=True, slots=True)
class Began:
    """Speech began at a position in the stream (bytes)."""

    at: int


@dataclass(frozen=True, slots=True)
class Ended:
    """So much silence followed the speech that ended at a position in the stream (bytes)."""

    at: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the stream that one Results message is about; positions in bytes."""

    start: int
    end: int
    speech: bytes = b""
    """From the first loud sample to the last one; empty: nobody spoke."""
    speech_start: int = 0
    is_final: bool = False
    speech_final: bool = False
    from_finalize: bool = False


Event = Began | Ended | Segment


class Hearing:
    """Cuts one stream into segments."""

    def __init__(
        self, endpointing_ms: int | None, utterance_end_ms: int | None = None, interim_ms: int | None = _INTERIM_MS
    ) -> None:
        """Silence of `endpointing_ms` makes speech final, None: only `finalize` does.
        Silence of `utterance_end_ms` after it is told, None: never.
        Speech brings an interim segment every `interim_ms`, None: only `interim` does."""
        self._endpointing = None if endpointing_ms is None else bytes_of(endpointing_ms)
        self._utterance_end = None if utterance_end_ms is None else bytes_of(utterance_end_ms)
        self._interim = None if interim_ms is None else bytes_of(interim_ms)
        self.position = 0
        """How much audio came, in bytes."""
        self._rest = b""
        """Less than a hop."""
        self._segment_start = 0
        self._speech = bytearray()
        """The audio from the first loud hop on; empty: nobody speaks."""
        self._speech_start = 0
        self._loud_until = 0
        self._interim_at = 0
        self._owes_end = False

    def feed(self, mulaw: bytes) -> list[Event]:
        """The next audio."""
        data = self._rest + mulaw
        whole = len(data) - len(data) % _HOP
        self._rest = data[whole:]
        if not self._speech and self._uneventful(whole) and not data[:whole].translate(None, _QUIET):
            self.position += whole
            return []
        events: list[Event] = []
        for at in range(0, whole, _HOP):
            hop = data[at : at + _HOP]
            events += self._hop(hop, loud=bool(hop.translate(None, _QUIET)))
        return events

    def _uneventful(self, length: int) -> bool:
        """Whether the next `length` bytes can be silent without anything to tell."""
        if self.position + length - self._segment_start >= _LONGEST_SILENCE:
            return False
        return not self._owes_end or self._utterance_end is None or self.silence + length < self._utterance_end

    def _hop(self, audio: bytes, *, loud: bool) -> list[Event]:
        events: list[Event] = []
        if loud and not self._speech:
            self._speech_start = self._interim_at = self.position
            events.append(Began(self.position))
        self.position += _HOP
        if loud:
            self._loud_until, self._owes_end = self.position, True
        if loud or self._speech:
            self._speech += audio
        if self._speech:
            events += self._while_speaking()
        elif self.position - self._segment_start >= _LONGEST_SILENCE:
            events.append(self._cut(is_final=True))
        if self._owes_end and self._utterance_end is not None and self.silence >= self._utterance_end:
            self._owes_end = False
            events.append(Ended(self._loud_until))
        return events

    @property
    def silence(self) -> int:
        """How much audio came since the last sound, in bytes."""
        return self.position - self._loud_until

    def _while_speaking(self) -> list[Event]:
        if self._endpointing is not None and self.silence >= self._endpointing:
            return [self._cut(is_final=True, speech_final=True)]
        if self._interim is not None and self.position - self._interim_at >= self._interim:
            self._interim_at = self.position
            return [self._cut()]
        return []

    def interim(self) -> Segment:
        """What came since the last final segment."""
        return self._cut()

    def finalize(self) -> Segment | None:
        """All that came becomes final at once; None: it is already."""
        return self._cut(is_final=True, from_finalize=True) if self.position > self._segment_start else None

    def _cut(self, *, is_final: bool = False, speech_final: bool = False, from_finalize: bool = False) -> Segment:
        speech = bytes(self._speech[: self._loud_until - self._speech_start])
        segment = Segment(
            self._segment_start, self.position, speech, self._speech_start, is_final, speech_final, from_finalize
        )
        if is_final:
            self._segment_start = self.position
            self._speech.clear()
        return segment
