"""One call as the playback clock sees it, for tests that read like its script."""

from collections.abc import Sequence
from itertools import accumulate

from services.gateway.playback import PlaybackClock, Step
from shared.audio import SILENCE, bytes_of
from shared.messages import AudioOut
from shared.messages.audio import Spoken, WordEnd

LOUD = b"\x00"
START = 1_700_000_000.0


class Phone:
    """One call's clock, and the time in ms since the call began."""

    def __init__(self) -> None:
        self.clock = PlaybackClock()
        self.ms = 0

    @property
    def now(self) -> float:
        return START + self.ms / 1000

    def at(self, ms: int) -> "Phone":
        self.ms = ms
        return self

    def piece(self, ms: int, text: str = "", *, generation: int = 1, last: bool = False, quiet_ms: int = 0) -> Step:
        payload = SILENCE * bytes_of(quiet_ms) + LOUD * bytes_of(ms - quiet_ms)
        asked_at, at = self.now - 0.2, self.now - 0.1
        return self.clock.admit(AudioOut(1, generation, 7, 0, asked_at, at, payload, text, last), self.now)

    def words(self, *words: tuple[int, str], last: bool = False) -> Step:
        """One message of several words, each with its length in ms."""
        return self.clock.admit(message(words, self.now, last=last), self.now)

    def pause(self, generation: int = 1) -> Step:
        return self.clock.pause(generation, self.now)

    def resume(self, generation: int = 1) -> Step:
        return self.clock.resume(generation, self.now)

    def clear(self, generation: int = 2) -> Step:
        return self.clock.clear(generation, self.now)

    def mark(self, name: str) -> Step:
        return self.clock.mark(name, self.now)

    def played(self, step: Step) -> Step:
        """The carrier has come to the end of what `step` sent."""
        return self.mark(step.play[-1].mark)


def message(words: Sequence[tuple[int, str]], at: float, *, last: bool = False, generation: int = 1) -> AudioOut:
    """What tts sends of several words, each with its length in ms."""
    ends = accumulate(bytes_of(ms) for ms, _ in words)
    spoken = Spoken(WordEnd(end, text) for end, (_, text) in zip(ends, words, strict=True))
    payload = LOUD * bytes_of(sum(ms for ms, _ in words))
    return AudioOut(1, generation, 7, 0, at - 0.2, at - 0.1, payload, spoken, last)


def told(step: Step) -> list[tuple[int, str, int, str]]:
    return [(report.generation, report.state, report.heard_ms, report.heard) for report in step.reports]


def lengths(step: Step) -> list[int]:
    return [len(audio.payload) // 8 for audio in step.play]
