"""What is known of a call while it is played: the platform's own words about it, and what the ear hears."""

from typing import Protocol, TypeVar

from shared.messages import CallEnded, Message, TranscriptAgent, TranscriptCaller
from simulator.playback import Playback
from simulator.rehearsal.hearing import Hearing, Rendered
from simulator.tap import Tap

AnyMessage = TypeVar("AnyMessage", bound=Message)
SUBJECTS = ("audio.out", "playback", "speech.sustained")
"""What a tap must listen to besides transcripts and events."""
_LAST_WORDS_S = 1.0
"""How long after the end of the call a transcript may come."""
_MARGIN_S = 0.5
"""The tap may hear of a piece later than the carrier."""


class Listening(Protocol):
    """What is needed of a phone."""

    @property
    def playback(self) -> Playback: ...

    def clock(self) -> float: ...


class Witness:
    """Hands out each message once, and forgets at each action what nobody asked about."""

    def __init__(self, tap: Tap, phone: Listening) -> None:
        """`tap` is opened with SUBJECTS."""
        self._tap = tap
        self._phone = phone
        self._read: dict[type[Message], int] = {}
        """How many messages of each kind were asked about or forgotten."""
        self._asked: set[type[Message]] = set()
        """The kinds that were asked about since the last action."""

    def _of(self, kind: type[AnyMessage]) -> list[AnyMessage]:
        return [message for message in self._tap.messages if isinstance(message, kind)]

    async def next(self, kind: type[AnyMessage], wait_s: float) -> AnyMessage | None:
        """The next message of a kind; None when none comes in time."""
        place = self._read.get(kind, 0)

        def there() -> bool:
            return len(self._of(kind)) > place

        await self._tap.until(lambda: there() or bool(self._of(CallEnded)), wait_s)
        if not there() and self._of(CallEnded):
            await self._tap.until(there, _LAST_WORDS_S)
        self._asked.add(kind)
        if not there():
            return None
        self._read[kind] = place + 1
        return self._of(kind)[place]

    async def ended(self, wait_s: float) -> CallEnded | None:
        """How the platform says that the call ended; None while it has not."""
        await self._tap.until(lambda: bool(self._of(CallEnded)), wait_s)
        return next(iter(self._of(CallEnded)), None)

    def forget(self) -> list[str]:
        """A new action begins. Returns what else came of the last one, where anything was asked about, in sentences."""
        more = [f"{message.text!r} was understood too" for message in self._unread(TranscriptCaller)]
        more += [f"the agent said {message.text!r} too" for message in self._unread(TranscriptAgent)]
        for kind in (TranscriptCaller, TranscriptAgent):
            self._read[kind] = len(self._of(kind))
        self._asked.clear()
        return more

    def _unread(self, kind: type[AnyMessage]) -> list[AnyMessage]:
        """What came of a kind that was asked about, beyond what was asked for."""
        return self._of(kind)[self._read.get(kind, 0) :] if kind in self._asked else []

    def hearing(self, generation: int) -> Hearing:
        """What was heard so far of a reply."""
        pieces = [piece for piece in self._tap.pieces if piece.frame.generation == generation]
        playback, now = self._phone.playback, self._phone.clock()
        began = max(playback.started, pieces[0].came - _MARGIN_S) if pieces else now
        return Hearing.of(Rendered.of(piece.frame for piece in pieces), playback.between(began, now), began)
