"""One fault under live calls: placed, struck, held to their ends, judged."""

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.agents import AgentProfile
from shared.bus import BusError
from shared.espeak import SpeechError
from simulator.chaos.catalogue import Entry
from simulator.chaos.ears import Ears
from simulator.chaos.lines import Asks, Script, asks, scripts
from simulator.chaos.recording import Recording
from simulator.chaos.site import NotStruck, Site
from simulator.chaos.talk import Talk
from simulator.chaos.verdict import CallVerdict, Fault, Judge

LINE_S = 8.0
"""About what a line takes with its answer: calls that begin within this time are hit in all their phases."""
SETTLE_S = 3.0
"""What the system has to recover after the fault: a line that begins later must be answered as ever."""
_BEGIN_S = 30.0
"""By then every call has begun, or never will."""


@dataclass(frozen=True)
class Cast:
    """Who calls one agent, and what they say."""

    dialled: str
    agent: AgentProfile
    scripts: Sequence[Script]
    asks: Asks

    @property
    def echo(self) -> bool:
        """The agent has no words of its own."""
        return self.agent.pipeline == "echo"

    @property
    def texts(self) -> list[str]:
        """All that callers say."""
        return list(dict.fromkeys(line.said for script in self.scripts for line in script.lines))


def cast(agent: AgentProfile, calls: int, seed: int) -> Cast:
    """Callers of `agent`, which has a number. Raises SpeechError."""
    if not agent.numbers:
        raise SpeechError(f"the agent {agent.name!r} has no number")
    return Cast(agent.numbers[0], agent, scripts(agent, calls, seed), asks(agent))


@dataclass(slots=True)
class Trial:
    """What came of one fault."""

    name: str
    calls: list[CallVerdict] = field(default_factory=list)
    hit: list[CallVerdict] = field(default_factory=list)
    """Those of the calls that the struck process held; all when the fault concerns all."""
    failures: list[str] = field(default_factory=list)
    """What went wrong besides: the fault did not come about, a drain did not end, …"""
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def went_on(self) -> int:
        """Calls that went on."""
        return sum(call.went_on for call in self.calls)

    @property
    def right(self) -> bool:
        """Every call went on, with nothing wrong and nothing twice."""
        wrong = sum(call.wrong for call in self.calls)
        return not self.failures and bool(self.calls) and self.went_on == len(self.calls) and not wrong


class Scene:
    """One trial while it lasts."""

    def __init__(self, site: Site, entry: Entry, cast: Cast, ears: Ears, rng: random.Random) -> None:
        """`site` is in health."""
        self._site = site
        self._entry = entry
        self._cast = cast
        self._ears = ears
        self._rng = rng
        self._struck = self._settled = float("inf")
        self._trial = Trial(entry.name)
        self._talks = [self._talk(number, script) for number, script in enumerate(cast.scripts)]

    def _talk(self, number: int, script: Script) -> Talk:
        cast, caller = self._cast, f"+1555{2_000_000 + number}"
        setup = self._site.setup(cast.dialled, number)
        return Talk(setup, script, cast.asks, self._ears, self._enough, caller, echo=cast.echo)

    def _enough(self, began: float) -> bool:
        return began >= self._settled

    async def play(self) -> Trial:
        """Everything from the first ring to the verdicts."""
        began = time.monotonic()
        await self._site.teach(self._cast.texts)
        held = [asyncio.create_task(self._hold(number)) for number in range(len(self._talks))]
        try:
            held_by = await self._strike()
            left = max(0.0, began + self._entry.limit_s - time.monotonic())
            await asyncio.wait(held, timeout=left)
            limit = f"the call was given up after {self._entry.limit_s:g} s"
            await asyncio.gather(
                *(talk.give_up(limit) for talk, task in zip(self._talks, held, strict=True) if not task.done())
            )
            recordings = await asyncio.gather(*held)
        finally:
            for task in held:
                task.cancel()
            await asyncio.wait(held)
        await self._judge(recordings, held_by)
        self._trial.notes += self._site.notes
        self._trial.seconds = time.monotonic() - began
        return self._trial

    async def _hold(self, number: int) -> Recording:
        # Spread over the time of one line, so that the fault falls into all phases of a conversation.
        await asyncio.sleep(LINE_S * number / len(self._talks))
        return await self._talks[number].hold()

    async def _strike(self) -> dict[str, set[int]]:
        """Strike when all calls talk; returns the processes that held each call."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_BEGIN_S):
                await asyncio.gather(*(talk.begun.wait() for talk in self._talks))
        await asyncio.sleep(self._rng.uniform(0, LINE_S / len(self._talks)))
        held_by: dict[str, set[int]] = {}
        try:
            held_by = await self._site.processes_of_calls()
            self._struck = time.monotonic()
            async with asyncio.timeout(self._entry.limit_s):
                await self._entry.strike(self._site)
        except (NotStruck, BusError, OSError, TimeoutError) as error:
            self._trial.failures.append(str(error) or type(error).__name__)
        now = time.monotonic()
        self._struck, self._settled = min(self._struck, now), now + SETTLE_S
        return held_by

    async def _judge(self, recordings: Sequence[Recording], held_by: dict[str, set[int]]) -> None:
        judge = Judge(self._cast.asks.texts, echo=self._cast.echo)
        fault = Fault(self._struck, self._settled)
        victims = self._site.victims
        for talk, recording in zip(self._talks, recordings, strict=True):
            verdict = await self._ears.verdict(judge, recording, fault)
            self._trial.calls.append(verdict)
            if not victims or held_by.get(talk.id, set()) & victims:
                self._trial.hit.append(verdict)
