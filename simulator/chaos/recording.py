"""What is known of a call after its end: what the caller said and when, and what he heard. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from simulator.conversation import Line
from simulator.playback import Playback
from simulator.tap import Piece


@dataclass(slots=True)
class Said:
    """A line, said once. Times in seconds of the phone's clock."""

    line: Line
    began: float
    ended: float
    """Its last sample that can be heard was sent."""
    until: float
    """When the caller stopped listening for an answer, or the call ended."""
    understood: str = ""
    """What the platform told of it (`transcript.caller`)."""


@dataclass(slots=True)
class Recording:
    """One call."""

    playback: Playback
    said: list[Said] = field(default_factory=list)
    pieces: Sequence[Piece] = ()
    """The agent's audio as it was published: what each piece says."""
    failure: str = ""
    """Why the call ended before its caller wanted it to; empty when it did not."""
    faults: Sequence[str] = ()
    """What the carrier would have logged as errors."""

    def stretches(self, start: float, end: float) -> list[tuple[float, float]]:
        """What could be heard of the agent from `start` to `end`."""
        played = self.playback.played()
        return [(max(a, start), min(b, end)) for a, b in played if b > start and a < end]

    def phase(self, at: float) -> str:
        """What the call was at when the time was `at`: `caller`, `waiting`, `agent` or `between` two lines."""
        if any(start <= at < end for start, end in self.stretches(at - 1, at + 1)):
            return "agent"
        for said in self.said:
            if said.began <= at < said.ended:
                return "caller"
            if said.ended <= at < said.until:
                return "between" if self.stretches(said.ended, at) else "waiting"
        return "between"
