"""When the Flux stand-in has something to say: by the clock of its audio, and by the silences in it. Pure."""

from dataclasses import dataclass

from shared.audio import bytes_of
from simulator.standins.deepgram_hearing import Hearing, Segment

UPDATE_MS = 240
"""The vendor says about every quarter of a second of audio how far it is."""
_HOP = bytes_of(10)


@dataclass(frozen=True, slots=True)
class Moment:
    """A place in the stream."""

    segment: Segment
    """The newest speech; final when a pause ended it."""
    silence: int
    """How much audio came since the last sound, in bytes."""
    update: bool
    """It is time to say how far we are."""


class FluxHearing:
    """Finds the moments of one stream."""

    def __init__(self, pause_ms: int, ends_ms: tuple[int, ...]) -> None:
        """Silence of `pause_ms` ends a piece of speech; at each of `ends_ms` a turn may be over."""
        self._hearing = Hearing(pause_ms, interim_ms=None)
        self._ends = {-(-bytes_of(ms) // _HOP) * _HOP for ms in ends_ms}
        self._rest = b""

    def feed(self, mulaw: bytes) -> list[Moment]:
        """The next audio."""
        data = self._rest + mulaw
        whole = len(data) - len(data) % _HOP
        self._rest = data[whole:]
        return [moment for at in range(0, whole, _HOP) for moment in self._hop(data[at : at + _HOP])]

    def _hop(self, audio: bytes) -> list[Moment]:
        events = self._hearing.feed(audio)
        silence = self._hearing.silence
        update = self._hearing.position % bytes_of(UPDATE_MS) == 0
        # Long silence is final too; nobody hears of it here.
        finals = [event for event in events if isinstance(event, Segment) and event.speech]
        if finals:
            return [Moment(finals[0], silence, update)]
        if update or silence in self._ends:
            return [Moment(self._hearing.interim(), silence, update)]
        return []
