"""One script, played in one call from the first ring to the hang-up."""

import contextlib
from dataclasses import dataclass, field, replace
from typing import Any

from shared import subjects
from shared.agents import AgentProfile
from shared.bus import Bus
from shared.messages import Message, TranscriptAgent, TranscriptCaller, TurnsChanged
from simulator.caller import Voice
from simulator.conversation import Setup
from simulator.phone import CallOver, Phone
from simulator.rehearsal import judge
from simulator.rehearsal.actor import Actor, CannotAct
from simulator.rehearsal.judge import Scene
from simulator.rehearsal.screenplay import Expect, Screenplay, Step
from simulator.rehearsal.witness import SUBJECTS, Witness
from simulator.tap import Tap


@dataclass(frozen=True, slots=True)
class StepReport:
    """What came of one step."""

    text: str
    """The step, for people."""
    reasons: list[str]
    """Why it failed; empty when it passed."""


@dataclass(slots=True)
class PerformanceReport:
    """What came of one script."""

    title: str
    call_id: str
    planned: int
    """Steps in the script."""
    steps: list[StepReport] = field(default_factory=list)
    """Those that were played; the first that fails is the last."""
    faults: list[str] = field(default_factory=list)
    """What was wrong beside the steps."""
    messages: list[Message] = field(default_factory=list)
    """The conversation as the platform tells it."""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Everything was as expected."""
        return len(self.steps) == self.planned and not self.reasons

    @property
    def reasons(self) -> list[str]:
        """Everything that was not, in sentences."""
        wrong = [
            f"step {number} ({step.text}): {reason}"
            for number, step in enumerate(self.steps, 1)
            for reason in step.reasons
        ]
        return [*wrong, *self.faults]


async def change_turns(bus: Bus, call_id: str, turns: dict[str, Any]) -> None:
    """Let the call `call_id` take turns so, as anybody may."""
    message = TurnsChanged(call_id=call_id, stage="anyone", turns=turns)
    await bus.publish(subjects.call(call_id, TurnsChanged.suffix), message.model_dump_json().encode())
    await bus.flush()


class Performance:
    """Plays one script."""

    def __init__(
        self, setup: Setup, bus: Bus, play: Screenplay, agent: AgentProfile, voice: Voice, *, any_answer: bool = False
    ) -> None:
        """`bus` is the broker of the system in `setup`, which `agent` answers; `any_answer`: its words are its own."""
        self._setup = setup
        self._bus = bus
        self._play = play
        self._any_answer = any_answer
        self._phone = Phone(setup.http, setup.gateway, setup.dialled)
        self._tap = Tap(self._note)
        self._witness = Witness(self._tap, self._phone)
        self._actor = Actor(self._phone, voice, setup.patience, agent.turns, self._change_turns)
        self._action_began = 0.0
        self.report = PerformanceReport(play.title, self._phone.id, len(play.steps))

    def _note(self, message: Message) -> None:
        if isinstance(message, TranscriptCaller | TranscriptAgent):
            self.report.messages.append(message)

    async def _change_turns(self, turns: dict[str, Any]) -> None:
        await change_turns(self._bus, self._phone.id, turns)

    async def run(self) -> PerformanceReport:
        """Place the call, play the steps until one fails, hang up. What goes wrong is in the report."""
        began = self._phone.clock()
        try:
            await self._tap.open(self._bus, self._phone.id, SUBJECTS)
            await self._phone.dial()
            if self._play.turns:
                await self._actor.change(self._play.turns)
            for step in self._play.steps:
                if not await self._step(step):
                    break
            else:
                self.report.faults += self._witness.forget()
        except CallOver as over:
            self.report.faults.append(f"the call did not come about: {over}")
        finally:
            with contextlib.suppress(CallOver):
                await self._phone.hang_up()
            await self._tap.close()
        self.report.faults += self._phone.record.faults
        self.report.seconds = self._phone.clock() - began
        return self.report

    async def _step(self, step: Step) -> bool:
        if step.expect is not None:
            reasons = await self._judge(step.expect)
        else:
            reasons = await self._act(step)
        self.report.steps.append(StepReport(str(step), reasons))
        return not reasons

    async def _act(self, step: Step) -> list[str]:
        try:
            await self._actor.cue(step)
        except CannotAct as error:
            return [*self._witness.forget(), str(error)]
        # Only now: until here it was the last action that things came of.
        reasons = self._witness.forget()
        self._action_began = self._phone.clock()
        try:
            await self._actor.act(step)
        except CannotAct as error:
            reasons.append(str(error))
        except CallOver as over:
            reasons.append(f"{over}: {self._phone.record.ended}" if self._phone.record.ended else str(over))
        return reasons

    async def _judge(self, expect: Expect) -> list[str]:
        # Judged before anything is waited for: what comes later is no longer of this moment.
        first = self._phone.playback.first_audible(self._action_began)
        now = self._phone.clock()
        scene = Scene(sound=self._actor.sound, audible_at=first if first is not None and first <= now else None)
        deadline = now + expect.wait_s

        def left() -> float:
            return max(0.0, deadline - self._phone.clock())

        if expect.of_reply:
            reply = await self._witness.next(TranscriptAgent, left())
            hearing = None if reply is None else self._witness.hearing(reply.generation)
            scene = replace(scene, reply=reply, hearing=hearing)
            self._actor.answered()
        if expect.said is not None:
            scene = replace(scene, said=await self._witness.next(TranscriptCaller, left()))
        if expect.ended is not None:
            ended = await self._witness.ended(left())
            while ended is not None and not self._phone.over and left():
                await self._phone.changed(left())
            reason = None if ended is None else ended.reason
            scene = replace(scene, ended=reason, line_ended=self._phone.record.ended)
        scene = replace(scene, clears=tuple(self._phone.playback.cleared_at))
        return judge.reasons(expect, scene, any_answer=self._any_answer)
