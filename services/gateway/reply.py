"""One reply on its way to the caller's ear: what was sent, what was heard of it, what can be said again. Pure."""

from collections import deque
from itertools import takewhile
from typing import NamedTuple

from shared.audio import RATE
from shared.loudness import first_audible
from shared.messages import AudioOut

_LONGEST_WORD_MS = 2000
"""Audio without text is kept for so long, in case that it begins a word. A reply may have no text at all."""


class Outgoing(NamedTuple):
    """Audio for the carrier."""

    payload: bytes
    """8 kHz μ-law."""
    mark: str
    """The name of the mark to send behind it."""


class _Piece(NamedTuple):
    """What of a message ends with a word, or goes on within one."""

    text: str
    message: bytes
    begin: int
    """Where in the message's audio it begins."""
    end: int
    start_ms: int
    """Where in the reply it begins."""
    end_ms: int
    ends_message: bool


class Reply:
    """The pieces of one reply: waiting, sent, or heard.

    It is played in takes; what a take played is known by its marks, and between two marks by the time that
    passed. Each silence ends a take, so that the marks which a cleared carrier returns mean nothing.
    A message is sent as it came, with one mark; after a silence what is left of it, from the beginning of a word.
    `now` is Unix time in seconds.
    """

    def __init__(self, generation: int) -> None:
        """Nothing of it has come yet."""
        self.generation = generation
        self.turn_id = 0
        self.complete = False
        """Its last piece has come."""
        self.finished = False
        """It was heard to its end."""
        self.paused = False
        self.started = False
        """Some of it was sent."""
        self.heard_ms = 0
        self.heard = ""
        """The whole words of those milliseconds."""
        self.received = ""
        """The words of all audio that has come."""
        self.moments: dict[str, float] = {}
        """Of its first audio: when it was asked for, published and received."""
        self._waiting: deque[_Piece] = deque()
        self._sent: deque[_Piece] = deque()
        """Of this take; the first is where the first word begins that was not wholly heard."""
        self._pending: dict[str, int] = {}
        """The marks that did not come back yet, with their positions in ms."""
        self._take = 1
        self._bytes = 0
        self._sent_ms = 0
        self._known = (0, 0.0)
        """A position in ms, and when the carrier's playback was there."""
        self._audible_ms: float | None = None

    @property
    def playing(self) -> bool:
        """Whether the carrier holds audio that the caller has not heard yet."""
        return bool(self._pending)

    @property
    def over(self) -> bool:
        """Whether all of it was heard, and no more will come."""
        return self.complete and not self._pending and not self._waiting

    def awaits(self, mark: str) -> bool:
        """Whether the audio before `mark` shall still be heard."""
        return mark in self._pending

    def keep(self, message: AudioOut, now: float) -> None:
        """The next audio has arrived."""
        payload = message.payload
        start = self._bytes
        self._bytes += len(payload)
        self.turn_id = message.turn_id
        self.complete = message.last
        self.received += message.text
        if payload and not self.moments:
            self.moments = {"asked_at": message.asked_at, "synthesized_at": message.at, "received_at": now}
        if self._audible_ms is None and (first := first_audible(payload)) is not None:
            self._audible_ms = (start + first) * 1000 / RATE
        self._split(message, start)
        self._settle()

    def _split(self, message: AudioOut, start: int) -> None:
        words = message.words
        begin, start_ms = 0, start * 1000 // RATE
        for number, (end, text) in enumerate(words, 1):
            end_ms, ends_message = (start + end) * 1000 // RATE, number == len(words)
            self._waiting.append(_Piece(text, message.payload, begin, end, start_ms, end_ms, ends_message))
            begin, start_ms = end, end_ms

    def play(self, now: float, idle_at: float = 0.0) -> tuple[Outgoing, ...]:
        """Take everything that waits, to be sent to the carrier now; until `idle_at` it plays what is no reply."""
        outgoing: list[Outgoing] = []
        begin = None
        while self._waiting:
            piece = self._waiting.popleft()
            if begin is None:
                begin = piece.begin
                if self._reached(now) >= self._sent_ms:
                    # The carrier is idle: it begins to play this when it comes.
                    self._known = (self._sent_ms, max(now, idle_at))
            self._sent.append(piece)
            if piece.ends_message:
                self._sent_ms = piece.end_ms
                if piece.end > begin:
                    mark = f"{self.generation}:{self._take}:{piece.end_ms}"
                    self._pending[mark] = piece.end_ms
                    outgoing.append(Outgoing(piece.message[begin : piece.end], mark))
                begin = None
        return tuple(outgoing)

    def acknowledge(self, mark: str, now: float) -> float | None:
        """The carrier has played all audio before `mark`, one of those that `awaits` names.

        Returns when the reply's first audible sample was played, None when that is still to come.
        """
        position = self._pending[mark]
        for passed in [*takewhile(lambda name: self._pending[name] <= position, self._pending)]:
            del self._pending[passed]
        self._known = (position, now)
        self._hear(position)
        if self._audible_ms is None or self._audible_ms >= position:
            return None
        return now - (position - self._audible_ms) / 1000

    def silence(self, now: float) -> None:
        """The carrier plays no more of it from now on; the rest waits, from the beginning of a word."""
        self._hear(self._reached(now))
        self._pending.clear()
        self._take += 1
        self._waiting.extendleft(reversed(self._sent))
        self._sent.clear()
        if self._waiting:
            self._sent_ms = self._waiting[0].start_ms
        self._settle()

    @property
    def _end_ms(self) -> int:
        return self._bytes * 1000 // RATE

    def _reached(self, now: float) -> int:
        """How far the playback has come: since the last known position it went on, but not beyond what was sent."""
        position, at = self._known
        return min(self._sent_ms, position + max(0, round((now - at) * 1000)))

    def _hear(self, ms: int) -> None:
        self.heard_ms = max(self.heard_ms, ms)
        heard = [*takewhile(lambda piece: piece.end_ms <= self.heard_ms, self._sent)]
        words = max((index + 1 for index, piece in enumerate(heard) if piece.text), default=0)
        too_long = sum(piece.end_ms < self.heard_ms - _LONGEST_WORD_MS for piece in heard)
        for _ in range(max(words, too_long)):
            self.heard += self._sent.popleft().text

    def _settle(self) -> None:
        """Nothing is left to say of a reply whose audio has all come and was all heard."""
        if self.complete and self.heard_ms >= self._end_ms:
            self.heard += "".join(piece.text for piece in self._waiting)
            self._waiting.clear()
