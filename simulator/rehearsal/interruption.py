"""How well an agent tells an interruption from a cough: one call in which it is interrupted again and again."""

import contextlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from shared.bus import Bus
from shared.messages import Message, Playback, SpeechSustained, TranscriptAgent
from shared.phrases import normalize
from shared.turn_taking import TurnProfile
from simulator import sounds
from simulator.caller import Caller
from simulator.conversation import Setup
from simulator.mouth import Spoken
from simulator.phone import CallOver, Phone
from simulator.rehearsal import judge
from simulator.rehearsal.hearing import Hearing
from simulator.rehearsal.witness import SUBJECTS, Witness
from simulator.tap import Tap

_BEGINS_S = 15.0
_REPLY_S = 60.0
"""A long reply, and what was said into it, is over by then."""

Kind = Literal["interruption", "false alarm"]


@dataclass(frozen=True, slots=True)
class Trial:
    """Something that the caller lets hear into a reply."""

    kind: Kind
    into_ms: int
    """So long after the reply was first heard."""
    mulaw: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial. Times in ms."""

    trial: Trial
    failure: str = ""
    """Why it could not be made; empty when it was."""
    interrupted: bool = False
    """The reply was cut short."""
    answered: bool = False
    """What the caller said was answered right."""
    paused: bool = False
    resumed: bool = False
    finished: bool = False
    """The reply was heard to its end."""
    clear_ms: float | None = None
    """By ear: the caller's `min_speech_ms` of voice had left → the carrier was cleared."""
    platform_ms: float | None = None
    """`speech.sustained` reached the platform → the carrier was cleared, as the platform says."""
    resume_ms: float | None = None
    """By ear: the caller's sound was over → the reply was heard again."""
    wrong: tuple[str, ...] = ()
    """Where the words that were heard are not those that the platform tells, in sentences."""

    @property
    def right(self) -> bool:
        """An interruption was answered, a false alarm stopped nothing, and all words are right."""
        if self.failure or self.wrong:
            return False
        return self.interrupted and self.answered if self.trial.kind == "interruption" else self.finished


def trials(count: int, said: bytes, until_ms: int, seed: int) -> list[Trial]:
    """`count` interruptions by the words `said`, as many coughs and cleared throats, in any order."""
    chance = random.Random(seed)
    made = [Trial("interruption", chance.randint(500, until_ms), said) for _ in range(count)]
    for number in range(count):
        ms = chance.randint(350, 700)
        mulaw = sounds.cough(ms, seed=number) if number % 2 else sounds.throat(ms)
        made.append(Trial("false alarm", chance.randint(500, until_ms), mulaw))
    chance.shuffle(made)
    return made


@dataclass(slots=True)
class Interrupter:
    """Holds one call."""

    setup: Setup
    bus: Bus
    question: bytes
    """Asks for a long reply."""
    answer: str
    """The right answer to the words of an interruption; empty: any."""
    turns: TurnProfile
    trials: Sequence[Trial]
    on_outcome: Callable[[Outcome], None] = lambda outcome: None
    outcomes: list[Outcome] = field(default_factory=list)

    async def run(self) -> list[Outcome]:
        """Place the call, make all trials, hang up; one outcome for each."""
        phone, tap = Phone(self.setup.http, self.setup.gateway, self.setup.dialled), Tap()
        try:
            await tap.open(self.bus, phone.id, SUBJECTS)
            await phone.dial()
            caller = Caller(phone, self.setup.patience)
            await caller.hear_greeting()
            for trial in self.trials:
                witness = Witness(tap, phone)
                witness.forget()
                self.outcomes.append(await self._try(trial, phone, caller, tap, witness))
                self.on_outcome(self.outcomes[-1])
        except CallOver as over:
            missing = self.trials[len(self.outcomes) :]
            self.outcomes += [Outcome(trial, failure=f"the call ended: {over}") for trial in missing]
        finally:
            with contextlib.suppress(CallOver):
                await phone.hang_up()
            await tap.close()
        return self.outcomes

    async def _try(self, trial: Trial, phone: Phone, caller: Caller, tap: Tap, witness: Witness) -> Outcome:
        await caller.wait_until_quiet(_REPLY_S)
        await phone.speak(self.question)
        if not await caller.wait_playing(trial.into_ms, _BEGINS_S + trial.into_ms / 1000):
            return Outcome(trial, failure=f"no reply was heard for {trial.into_ms} ms")
        mark = len(tap.messages)
        spoken = await phone.speak(trial.mulaw)
        reply = await witness.next(TranscriptAgent, _REPLY_S)
        if reply is None:
            return Outcome(trial, failure="the reply never came to its end")
        hearing = witness.hearing(reply.generation)
        answer = None
        if reply.interrupted:
            answer = await witness.next(TranscriptAgent, _REPLY_S)
        clears = phone.playback.cleared_at
        return self._outcome(trial, reply, answer, hearing, spoken, clears, tap.messages[mark:])

    def _outcome(
        self,
        trial: Trial,
        reply: TranscriptAgent,
        answer: TranscriptAgent | None,
        hearing: Hearing,
        spoken: Spoken,
        clears: Sequence[float],
        messages: Sequence[Message],
    ) -> Outcome:
        states = [message.state for message in messages if isinstance(message, Playback)]
        clear = next((clear for clear in clears if clear >= spoken.began), None)
        again = None if clear is None or reply.interrupted else hearing.resumed(clear)
        voiced_at = spoken.voice_at(self.turns.barge_in.min_speech_ms)
        wrong = list(judge.true_to_the_ear(reply, hearing, clears))
        if hearing.repeated_words > judge.CUT_WORDS:
            wrong.append(f"{hearing.repeated_words} words were said twice")
        return Outcome(
            trial,
            interrupted=reply.interrupted,
            answered=answer is not None and self._right(answer.text),
            paused="paused" in states,
            resumed="resumed" in states,
            finished=not reply.interrupted and hearing.complete,
            clear_ms=None if clear is None else (clear - voiced_at) * 1000,
            platform_ms=_platform_ms(messages),
            resume_ms=None if again is None else (again - spoken.ended) * 1000,
            wrong=tuple(wrong),
        )

    def _right(self, text: str) -> bool:
        return normalize(text) == normalize(self.answer) if self.answer else bool(normalize(text))


def _platform_ms(messages: Sequence[Message]) -> float | None:
    sustained = next((message for message in messages if isinstance(message, SpeechSustained)), None)
    paused = next((m for m in messages if isinstance(m, Playback) and m.state == "paused"), None)
    return None if sustained is None or paused is None else (paused.at - sustained.reached_at) * 1000
