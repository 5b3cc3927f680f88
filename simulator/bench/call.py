"""One call of the benchmark: a caller says his lines, and knows by the last word when an answer is over."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Protocol

from simulator.bench.hearing import Reader, is_over, words_of, wrong
from simulator.bench.script import Line, Script
from simulator.bench.turn import PENDING, CallResult, Turn
from simulator.caller import Caller, OnThePhone
from simulator.mouth import Spoken
from simulator.phone import CallOver, CallRecord

REPLY_S = 10.0
"""The caller waits so long for an answer …"""
REST_S = 2.0
"""… so long for the rest of one that breaks off …"""
CLEAR_S = 3.0
"""… and so long, after his last word, for the agent to fall silent."""
_THINK_S = (0.2, 0.7)
"""From the last word of an answer to the caller's next one."""
_INTERRUPTS_S = (0.8, 1.6)
"""From the first word of an answer to the caller's over it."""


class Dialling(OnThePhone, Protocol):
    """A phone that has not been dialled: simulator.phone.Phone."""

    @property
    def record(self) -> CallRecord: ...

    async def dial(self) -> None: ...

    async def hang_up(self) -> None: ...


class Call:
    """Holds one call."""

    def __init__(
        self,
        phone: Dialling,
        number: int,
        script: Script,
        greeting: tuple[str, ...],
        read: Reader,
        enough: Callable[[], bool],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`greeting` is the agent's, in words; `enough` is asked before each line whether the caller hangs up.

        `sleep` takes seconds of the phone's clock.
        """
        self._script = script
        self._greeting = greeting
        self._read = read
        self._enough = enough
        self._rng = random.Random(number)
        self._sleep = sleep
        self._phone = phone
        self._caller = Caller(phone)
        self.up = asyncio.Event()
        """The greeting is over, or the call."""
        self.result = CallResult(number)
        self._open: tuple[Turn, Line] | None = None
        """The turn whose answer is being interrupted."""

    async def hold(self) -> CallResult:
        """Place the call, talk, hang up. What goes wrong is in the result."""
        result, phone = self.result, self._phone
        try:
            await phone.dial()
            await self._hear_greeting()
            await self._talk()
        except CallOver as over:
            result.refused = not phone.record.streams
            result.failure = "" if result.refused else f"the call ended early: {over}"
        finally:
            self.up.set()
            with contextlib.suppress(CallOver):
                await phone.hang_up()
            result.ended_at = phone.clock()
            result.sentences = phone.record.sentences
            result.underruns = phone.playback.underruns
            result.failure = "; ".join([*filter(None, [result.failure]), *phone.record.faults])
        return result

    async def _hear_greeting(self) -> None:
        started = self._phone.playback.started
        heard = await self._hear(started, self._greeting)
        if reason := wrong(heard, self._greeting):
            self.result.turns.append(Turn("(greeting)", started, reason=reason))
        self.result.up_at = self._phone.clock()
        self.up.set()

    async def _talk(self) -> None:
        for line, following in pairwise(self._script.cycled()):
            if not line.over:
                if self._enough():
                    return
                await self._sleep(self._rng.uniform(*_THINK_S))
            await self._say(line, interrupted=following.over)
            if self._phone.over:
                raise CallOver(self._phone.record.ended)

    async def _say(self, line: Line, *, interrupted: bool) -> None:
        """Say a line; listen to the answer, if it is not `interrupted` then to its end."""
        since = self._phone.clock()
        # The call may end at any moment.
        turn = Turn(line.said, since, reason=PENDING)
        self.result.turns.append(turn)
        spoken = await self._phone.speak(line.mulaw)
        if self._open is not None:
            since = await self._interrupted(turn, spoken)
        first = await self._caller.wait_for_reply(max(since, spoken.ended), REPLY_S)
        if first is None:
            turn.reason = f"no answer within {REPLY_S:g} s"
            return
        turn.response_ms = (first - spoken.ended) * 1000
        if interrupted:
            self._open = turn, line
            over_s = self._rng.uniform(*_INTERRUPTS_S)
            await self._sleep(max(0.0, first + over_s - self._phone.clock()))
            return
        turn.reason = wrong(await self._hear(since, line.words), line.words)

    async def _interrupted(self, turn: Turn, spoken: Spoken) -> float:
        """The caller has spoken over an answer: from when on the agent was silent."""
        assert self._open is not None  # noqa: S101
        before, line = self._open
        self._open = None
        cleared = await self._cleared(spoken.began, spoken.ended + CLEAR_S)
        until = spoken.ended if cleared is None else cleared
        heard = words_of(self._read(self._phone.playback.between(before.began, until)))
        before.reason = wrong(heard, line.words, interrupted=True)
        if cleared is None:
            before.reason = before.reason or "the agent did not fall silent"
        else:
            turn.clear_ms = (cleared - spoken.voice_at(0)) * 1000
        return until

    async def _cleared(self, since: float, until: float) -> float | None:
        """When the agent was first told to fall silent, at or after `since`; None: not by `until`."""
        phone = self._phone
        while True:
            cleared = next((at for at in phone.playback.cleared_at if at >= since), None)
            left = until - phone.clock()
            if cleared is not None or left <= 0 or phone.over:
                return cleared
            await phone.changed(left)

    async def _hear(self, since: float, expected: tuple[str, ...]) -> tuple[str, ...]:
        """The words from `since` on, when the last one of `expected` was played, or nothing more comes."""
        phone, read_until = self._phone, -1.0
        heard: tuple[str, ...] = ()
        while not phone.over:
            now, last = phone.clock(), phone.playback.silent_from
            if now < last:
                # What is queued can be read at its end: listening to each piece of it would tell no more.
                await self._sleep(last - now)
                continue
            if last != read_until:
                read_until = last
                heard = words_of(self._read(phone.playback.between(since, last)))
            patience = REST_S if last > since else REPLY_S
            left = max(last, since) + patience - now
            if is_over(heard, expected) or left <= 0:
                break
            await phone.changed(left)
        return heard
