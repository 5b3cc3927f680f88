"""One call from the first ring to the hang-up: lines said, answers heard and judged."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import aiohttp

from shared.audio import duration_ms
from shared.bus import Bus
from shared.messages import Message, TurnCompleted
from simulator.caller import Caller, Patience, Turn
from simulator.carrier import Gateway
from simulator.phone import CallOver, CallRecord, Phone
from simulator.tap import Tap
from simulator.verdict import Expected, Told, Verdict, judge

TRANSCRIPT_S = 3.0
"""How long after an answer was heard its transcript may come."""


@dataclass(frozen=True, slots=True)
class Line:
    """Something to say, and the right answer to it."""

    said: str
    """The words, or the name of the file."""
    mulaw: bytes
    expected: Expected


@dataclass(frozen=True)
class TurnReport:
    """What came of one line."""

    line: Line
    turn: Turn
    told: Told | None
    timing: TurnCompleted | None

    @cached_property
    def verdict(self) -> Verdict:
        """Was it right? Judging by ear takes some 30 ms of CPU for each clause."""
        return judge(self.line.expected, self.turn, self.told)


@dataclass(slots=True)
class CallReport:
    """What came of one call."""

    call_id: str
    record: CallRecord
    planned: int
    """Lines to be said."""
    turns: list[TurnReport] = field(default_factory=list)
    seconds: float = 0.0
    """From the first media stream to the hang-up."""
    greeting_ms: float | None = None
    """By ear: the first media stream open → first sample of the greeting played; None: there was none."""
    underruns: int = 0
    recording: tuple[bytes, bytes] = (b"", b"")
    failure: str = ""
    """Why the call did not come to its end, in words."""

    @property
    def reasons(self) -> list[str]:
        """All that was wrong, in sentences; empty when the call went well."""
        wrong = [f"“{turn.line.said}”: {turn.verdict.reason}" for turn in self.turns if not turn.verdict.right]
        return [*([self.failure] if self.failure else []), *wrong, *self.record.faults]


@dataclass(frozen=True, slots=True)
class Setup:
    """How calls are placed."""

    http: aiohttp.ClientSession
    gateway: Gateway
    dialled: str
    bus: Bus | None = None
    """The broker to read transcripts from; without it only the ear judges."""
    patience: Patience = field(default_factory=Patience)


def _ignore(anything: object) -> None:
    return


class Conversation:
    """Holds one call."""

    def __init__(
        self,
        setup: Setup,
        lines: Sequence[Line],
        on_message: Callable[[Message], None] = _ignore,
        on_turn: Callable[[TurnReport], None] = _ignore,
        caller: str = "",
    ) -> None:
        """`on_message` is told what comes from the broker, `on_turn` each turn, not judged yet."""
        self._setup = setup
        self._lines = lines
        self._on_turn = on_turn
        self._phone = Phone(setup.http, setup.gateway, setup.dialled, caller)
        self._tap = Tap(on_message)
        self.report = CallReport(self._phone.id, self._phone.record, len(lines))

    async def hold(self) -> CallReport:
        """Place the call, say all lines, hang up. What goes wrong is in the report."""
        try:
            if self._setup.bus is not None:
                await self._tap.open(self._setup.bus, self._phone.id)
            await self._phone.dial()
            await self._talk()
        except CallOver as over:
            self.report.failure = f"the call ended early: {over}"
        finally:
            await self._end()
        return self.report

    async def _talk(self) -> None:
        caller = Caller(self._phone, self._setup.patience)
        await caller.hear_greeting()
        playback = self._phone.playback
        first = playback.first_audible(playback.started)
        self.report.greeting_ms = None if first is None else (first - playback.started) * 1000
        for line in self._lines:
            mark = len(self._tap.messages)
            turn = await caller.say(line.mulaw)
            told = await self._told(mark, line.expected, turn)
            report = TurnReport(line, turn, told, self._tap.since(mark).timing)
            self.report.turns.append(report)
            self._on_turn(report)

    async def _told(self, mark: int, expected: Expected, turn: Turn) -> Told | None:
        if self._setup.bus is None or not expected.dialogue:
            return None
        if not turn.reason:
            await self._tap.until(lambda: self._tap.since(mark).complete, TRANSCRIPT_S)
        exchange = self._tap.since(mark)
        return Told(exchange.caller, exchange.agent)

    async def _end(self) -> None:
        with contextlib.suppress(CallOver):
            await self._phone.hang_up()
        await self._tap.close()
        self.report.recording = self._phone.recording()
        self.report.seconds = duration_ms(self.report.recording[0]) / 1000
        self.report.underruns = self._phone.playback.underruns
