"""Whether what comes from the caller is the agent's own voice, back from a speakerphone. Pure."""

from services.stt.caller_line import CallerLine
from services.stt.playout import EARLIEST_MS, LATEST_MS, Playout
from services.stt.spectrum import likeness, spectrogram
from shared.audio import RATE, bytes_of
from shared.mel import HOP_MS
from shared.messages import AudioOut, Playback

STRETCH_MS = 320
"""The shortest stretch that is judged: shorter ones are like too much."""
_LONGEST_MS = 1200
"""A longer one is judged by its end."""
SURE = 0.86
"""A stretch as like as this is echo, at whatever delay.

Measured with espeak voices, delays of 20 to 600 ms, -6 to -26 dB: at least 98 % of the echo is as like (90 % after a
room with 200 ms of reverberation), and of a caller's speech 0.1 % (0.6 % when it has the agent's own voice).
"""
FAMILIAR = 0.80
"""Enough near the delay at which this call's echo was before: 98 % in the same room, 0.1 % of a caller's speech."""
_PROOF_S = 0.5
"""The agent speaks so long, pauses between its words included, and nothing comes back: then there is no echo."""
_NEAR_MS = 60
"""The playback is known so exactly; the delay of the echo is the line's and does not change."""


class EchoGuard:
    """Knows the agent's voice in one call."""

    def __init__(self, line: CallerLine) -> None:
        """Nobody has spoken. `line` is where the echo would be."""
        self._playout = Playout()
        self.line = line
        self._last_lag_ms: float | None = None
        self._known_lag_ms: float | None = None
        """Where the echo was twice in a row."""

    def agent_said(self, piece: AudioOut) -> None:
        """A piece of a reply, to be played some time."""
        self._playout.add(piece)

    def agent_heard(self, playback: Playback, at: float) -> None:
        """The gateway's report on the playback, which came at the Unix time `at`."""
        self._playout.report(playback, at)

    def possible(self, begin_at: float, end_at: float) -> bool:
        """Whether the agent's voice may come back between these Unix times."""
        return self._playout.audible(begin_at, end_at)

    def excluded(self, quiet_from: float, quiet_until: float) -> bool:
        """Whether there is no echo on the line: between these Unix times nothing came from the caller, although the
        agent's newest reply was to be heard so early in them that all of its echo would have come as well."""
        earliest, latest = EARLIEST_MS / 1000, LATEST_MS / 1000
        return self._playout.played_s(quiet_from + earliest, quiet_until - latest) >= _PROOF_S

    def is_echo(self, from_ms: int, to_ms: int, ends_at: float) -> bool:
        """Whether the caller's line from `from_ms` to `to_ms` is the agent's voice and nothing louder.

        `ends_at`: the Unix time at which its end came. Costs nothing while the agent is silent, else some 0.5 ms
        for 320 ms of audio and 2 ms for 1.2 s.
        """
        audio = self.line.before(to_ms, min(max(to_ms - from_ms, STRETCH_MS), _LONGEST_MS))
        begins_at = ends_at - len(audio) / RATE
        if len(audio) < bytes_of(STRETCH_MS) or not self.possible(begins_at, ends_at):
            return False
        stretch = spectrogram(audio)
        best, lag_ms, familiar = 0.0, 0.0, 0.0
        for candidate in self._playout.candidates(begins_at, len(stretch)):
            scores = likeness(stretch, candidate.rows)
            place = int(scores.argmax())
            if scores[place] > best:
                best, lag_ms = float(scores[place]), candidate.lag_ms - place * HOP_MS
            if self._known_lag_ms is not None:
                near = int((candidate.lag_ms - self._known_lag_ms) // HOP_MS)
                reach = _NEAR_MS // HOP_MS
                familiar = max(familiar, float(scores[max(0, near - reach) : max(0, near + reach + 1)].max(initial=0)))
        if best >= SURE:
            self._learn(lag_ms)
        return best >= SURE or familiar >= FAMILIAR

    def _learn(self, lag_ms: float) -> None:
        if self._last_lag_ms is not None and abs(lag_ms - self._last_lag_ms) <= _NEAR_MS:
            self._known_lag_ms = lag_ms
        self._last_lag_ms = lag_ms
