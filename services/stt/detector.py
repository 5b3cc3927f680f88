"""When a caller speaks: from probabilities of speech to `started` and `stopped`. Pure."""

from dataclasses import dataclass

from services.stt.vad import WINDOW_MS


@dataclass(frozen=True, slots=True)
class Started:
    """The caller has begun to speak."""

    t_ms: int
    """Where the sound began on the caller's timeline."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The caller has fallen silent."""

    t_ms: int
    """Where the last speech sample lies on the caller's timeline."""


class SpeechDetector:
    """Hysteresis over the windows of one call."""

    def __init__(
        self,
        *,
        start: float = 0.7,
        stay: float = 0.45,
        onset_ms: int = 64,
        hang_over_ms: int = 224,
        window_ms: int = WINDOW_MS,
    ) -> None:
        """Speech starts after `onset_ms` of windows at `start` or above, without one below `stay` between them;
        it stops after `hang_over_ms` without a window at `stay` or above."""
        self._start = start
        self._stay = stay
        self._onset_ms = onset_ms
        self._hang_over_ms = hang_over_ms
        self._window_ms = window_ms
        self.speaking = False
        self.voiced = False
        """Whether the newest window belongs to speech: it is at `stay` or above while somebody speaks."""
        self._began_ms = 0
        self._loud_ms = 0
        self._last_ms = 0
        """The end of the newest window with speech."""
        self._now_ms = -1

    def hear(self, probability: float, start_ms: int) -> Started | Stopped | None:
        """The next window. A jump back in time (another line took over) ends what was being said."""
        jumped_back, self._now_ms = start_ms < self._now_ms, start_ms
        if jumped_back:
            self._loud_ms = 0
        change: Started | Stopped | None
        if self.speaking and jumped_back:
            change = self._stop()
        elif self.speaking:
            change = self._while_speaking(probability, start_ms)
        else:
            change = self._while_silent(probability, start_ms)
        self.voiced = self.speaking and probability >= self._stay
        return change

    def restart(self) -> Stopped | None:
        """Another line took over: what was being said on the old one is over."""
        stopped = self._stop() if self.speaking else None
        self._loud_ms = 0
        self._now_ms = -1
        self.voiced = False
        return stopped

    def _while_silent(self, probability: float, start_ms: int) -> Started | None:
        if probability < self._stay:
            self._loud_ms = 0
        if probability < self._start:
            return None
        if self._loud_ms == 0:
            self._began_ms = start_ms
        self._loud_ms += self._window_ms
        self._last_ms = start_ms + self._window_ms
        if self._loud_ms < self._onset_ms:
            return None
        self.speaking = True
        return Started(self._began_ms)

    def _while_speaking(self, probability: float, start_ms: int) -> Stopped | None:
        end_ms = start_ms + self._window_ms
        if probability >= self._stay:
            self._last_ms = end_ms
        elif end_ms - self._last_ms >= self._hang_over_ms:
            return self._stop()
        return None

    def _stop(self) -> Stopped:
        self.speaking = False
        self._loud_ms = 0
        return Stopped(self._last_ms)
