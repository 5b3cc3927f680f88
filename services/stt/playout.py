"""What the agent says, and which part of it plays at the caller when. Pure; times are Unix seconds.

The audio of a reply comes faster than it plays: where the playback is, the gateway's reports tell.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from services.stt.spectrum import silence, spectrogram
from shared.audio import SILENCE, bytes_of
from shared.mel import FRAME, HOP, HOP_MS, Array
from shared.messages import AudioOut, Playback

LATEST_MS = 700
"""So long after the playback an echo may come: 600 ms at most, and the reports are not exact."""
EARLIEST_MS = 100
"""An echo may seem to come before the playback: the carrier's marks take their time."""
_REPLIES = 2
_KEPT_MS = 5000
"""Audio that was played so long ago is forgotten."""
_RUNS = 64
_CACHED = 500
"""Rows of spectrogram."""


class _Reply:
    """The audio of one reply."""

    def __init__(self, epoch: int, offset_ms: int) -> None:
        self._epoch = epoch
        self._origin = 0
        """The byte of the reply from which the sender counts."""
        self._audio = bytearray()
        self._first = bytes_of(offset_ms) // HOP
        """Row at which `_audio` begins; rows count from the beginning of the reply."""
        self._rows: Array = silence(0)
        self._rows_from = self._first

    def add(self, epoch: int, offset_ms: int, mulaw: bytes) -> None:
        end = self._first * HOP + len(self._audio)
        if epoch > self._epoch:
            # Another voice goes on where the one before was lost, and counts from where it began itself.
            self._epoch, self._origin = epoch, end - bytes_of(offset_ms)
        behind = end - (self._origin + bytes_of(offset_ms))
        if behind < 0:
            self._audio.extend(SILENCE * -behind)
        # Offsets are rounded to a millisecond; more than that is audio that came before.
        self._audio.extend(mulaw[behind:] if behind > HOP else mulaw)

    def forget(self, before_ms: int) -> None:
        rows = min(before_ms // HOP_MS - self._first, len(self._audio) // HOP)
        if rows > 0:
            del self._audio[: rows * HOP]
            self._first += rows

    def rows(self, begin: int, end: int) -> Array:
        """The spectrogram from row `begin` to `end`; silence where nothing is known."""
        known = self._first + max(0, (len(self._audio) - FRAME) // HOP + 1)
        low, high = max(begin, self._first), min(end, known)
        if low >= high:
            return silence(end - begin)
        self._compute(low, high)
        rows = self._rows[low - self._rows_from : high - self._rows_from]
        return np.vstack([silence(low - begin), rows, silence(end - high)])

    def _compute(self, low: int, high: int) -> None:
        """Have the rows from `low` to `high` ready; asked again and again for almost the same ones."""
        until = self._rows_from + len(self._rows)
        if not self._rows_from <= low <= until:
            self._rows, self._rows_from, until = silence(0), low, low
        if high > until:
            audio = self._audio[(until - self._first) * HOP : (high - 1 - self._first) * HOP + FRAME]
            surplus = max(0, min(high - self._rows_from - _CACHED, low - self._rows_from))
            self._rows = np.vstack([self._rows[surplus:], spectrogram(bytes(audio))])
            self._rows_from += surplus


@dataclass(slots=True)
class _Run:
    """The playback as one report told it: at the time `at` the reply was at `at * 1000 + offset_ms`."""

    generation: int
    since: float
    offset_ms: float
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """What of a reply may come back as echo in a stretch of the caller's audio."""

    rows: Array
    lag_ms: float
    """How late the echo is if the stretch is alike from the first row on; 10 ms less for each row after it."""


class Playout:
    """The agent's voice in the last seconds."""

    def __init__(self) -> None:
        """The agent has said nothing."""
        self._replies: dict[int, _Reply] = {}
        self._runs: deque[_Run] = deque(maxlen=_RUNS)

    def add(self, piece: AudioOut) -> None:
        """A piece of a reply."""
        reply = self._replies.get(piece.generation)
        if reply is None:
            if self._replies and piece.generation < max(self._replies):
                return
            self._replies[piece.generation] = reply = _Reply(piece.epoch, piece.offset_ms)
            while len(self._replies) > _REPLIES:
                del self._replies[min(self._replies)]
        reply.add(piece.epoch, piece.offset_ms, piece.payload)

    def report(self, playback: Playback, at: float) -> None:
        """The gateway's report, which came at `at`."""
        if self._runs and self._runs[-1].until is None:
            self._runs[-1].until = at
        if playback.state in ("started", "playing", "resumed"):
            self._runs.append(_Run(playback.generation, at, playback.heard_ms - at * 1000))
        if (reply := self._replies.get(playback.generation)) is not None:
            reply.forget(playback.heard_ms - _KEPT_MS)

    def audible(self, begin_at: float, end_at: float) -> bool:
        """Whether the agent's voice may be on the caller's line between these times."""
        return bool(self._near(begin_at, end_at))

    def played_s(self, since: float, until: float) -> float:
        """How long the newest reply was to be heard between these times, in seconds."""
        if not self._runs:
            return 0.0
        newest = [run for run in self._runs if run.generation == self._runs[-1].generation]
        ends = ((run.since, until if run.until is None else run.until) for run in newest)
        return sum(max(0.0, min(end, until) - max(begin, since)) for begin, end in ends)

    def _near(self, begin_at: float, end_at: float) -> list[_Run]:
        since = begin_at - LATEST_MS / 1000
        return [run for run in self._runs if run.since <= end_at and (run.until is None or run.until >= since)]

    def candidates(self, begin_at: float, rows: int) -> list[Candidate]:
        """Where the echo is to be looked for in `rows` rows of the caller's audio that came from `begin_at` on."""
        offsets: dict[int, list[float]] = {}
        for run in self._near(begin_at, begin_at + rows * HOP_MS / 1000):
            offsets.setdefault(run.generation, []).append(run.offset_ms)
        found = []
        for generation, known in offsets.items():
            if (reply := self._replies.get(generation)) is not None:
                now_ms = begin_at * 1000
                begin = int((now_ms + min(known) - LATEST_MS) // HOP_MS)
                end = int((now_ms + max(known) + EARLIEST_MS) // HOP_MS) + rows
                found.append(Candidate(reply.rows(begin, end), now_ms + known[-1] - begin * HOP_MS))
        return found
