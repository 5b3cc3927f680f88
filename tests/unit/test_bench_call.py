"""A caller of the benchmark, on a phone whose time only moves when he waits."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest

from shared.audio import RATE, bytes_of
from simulator import telegraph
from simulator.bench.call import Call
from simulator.bench.script import Line, Script
from simulator.bench.turn import PENDING, CallResult, Turn
from simulator.mouth import Spoken
from simulator.phone import CallOver, CallRecord
from simulator.playback import Playback

LOUD = b"\x10"
SAID = LOUD * bytes_of(1000)
GREETING = "Good day!"
RESPONSE_S = 0.8
CLEARED_AFTER_S = 0.25


@dataclass
class Agent:
    """Answers each line after 0.8 s, and falls silent 0.25 s after a line begins over an answer."""

    answers: list[str]
    lines: int = 0
    clears: bool = True
    response_s: float = RESPONSE_S
    stutters: bool = False
    playback: Playback = field(default_factory=lambda: Playback(0.0))


class FakePhone:
    def __init__(self, agent: Agent, *, refuses: bool = False, drops_at: float = float("inf")) -> None:
        self.now = 0.0
        self.agent = agent
        self.record = CallRecord()
        self._refuses = refuses
        self._drops_at = drops_at
        self._plan: list[tuple[float, Callable[[], object]]] = []

    @property
    def playback(self) -> Playback:
        return self.agent.playback

    @property
    def over(self) -> bool:
        return bool(self.record.ended)

    def clock(self) -> float:
        return self.now

    async def dial(self) -> None:
        if self._refuses:
            self.record.sentences.append("All lines are busy.")
            raise CallOver("not connected")
        self.record.streams = 1
        self._say(0.5, GREETING)

    async def hang_up(self) -> None:
        self.record.ended = self.record.ended or "the caller hung up"

    def _say(self, at: float, text: str) -> None:
        mulaw = telegraph.speak(text).mulaw
        middle = len(mulaw) // 2
        pieces = (
            [(0.0, mulaw[:middle]), (middle / RATE + 0.2, mulaw[middle:])] if self.agent.stutters else [(0.0, mulaw)]
        )
        for delay_s, piece in pieces:
            self.plan(at + delay_s, partial(self._play, piece))

    def _play(self, mulaw: bytes) -> None:
        self.playback.append(self.now, mulaw)

    def plan(self, at: float, action: Callable[[], object]) -> None:
        self._plan.append((at, action))
        self._plan.sort(key=lambda planned: planned[0])

    def _go_to(self, at: float, *, stops: bool) -> None:
        """Move to `at`; when it `stops`, no further than to what happens before."""
        while self._plan and self._plan[0][0] <= at:
            at_first, action = self._plan.pop(0)
            self.now = max(self.now, at_first)
            action()
            if stops:
                return
        self.now = at
        if at >= self._drops_at:
            self.record.ended = "the agent hung up"

    async def sleep(self, seconds: float) -> None:
        self._go_to(self.now + seconds, stops=False)

    async def changed(self, timeout_s: float) -> None:
        assert timeout_s > 0
        self._go_to(self.now + timeout_s, stops=True)

    async def speak(self, mulaw: bytes) -> Spoken:
        if self.over:
            raise CallOver(self.record.ended)
        began, ended = self.now, self.now + len(mulaw) / RATE
        if self.agent.clears and self.playback.silent_from > began:
            cleared_at = began + CLEARED_AFTER_S
            self.plan(cleared_at, lambda: self.playback.clear(self.now))
        if self.agent.lines < len(self.agent.answers):
            self._say(ended + self.agent.response_s, self.agent.answers[self.agent.lines])
        self.agent.lines += 1
        self._go_to(ended, stops=False)
        return Spoken(began, ended, (began, ended))


def line(said: str, answer: str, *, over: bool = False) -> Line:
    return Line(said, SAID, tuple(answer.lower().split()), over)


LINES = (line("one", "the first answer"), line("two", "a long second answer to be broken off"))
OVER = line("three", "the third", over=True)


async def hold(phone: FakePhone, lines: tuple[Line, ...] = LINES, turns: int | None = None) -> CallResult:
    asked = iter(range(len(lines) if turns is None else turns))
    enough = lambda: next(asked, None) is None  # noqa: E731
    call = Call(phone, 7, Script(lines), ("good", "day"), telegraph.read, enough, phone.sleep)
    return await call.hold()


async def test_right_answers_are_right_and_timed_by_ear() -> None:
    phone = FakePhone(Agent(["the first answer", "a long second answer to be broken off"]))
    result = await hold(phone)
    assert [turn.reason for turn in result.turns] == ["", ""]
    assert [turn.response_ms for turn in result.turns] == [pytest.approx(800, abs=0.2), pytest.approx(800, abs=0.2)]
    assert result.up_at is not None
    assert not result.failure
    assert not result.refused


async def test_a_caller_speaks_only_when_the_last_word_was_played() -> None:
    phone = FakePhone(Agent(["the first answer", "a long second answer to be broken off"]))
    result = await hold(phone)
    first_s = len(telegraph.speak("the first answer").mulaw) / RATE
    ended = result.turns[0].began + 1.0 + RESPONSE_S + first_s
    assert ended <= result.turns[1].began < ended + 0.8


@pytest.mark.parametrize(
    ("answers", "complaint"),
    [
        (["a long second answer to be broken off"], "word 1"),
        (["the first"], "word 3"),
        (["the first answer answer"], "word 4"),
        ([], "no answer"),
    ],
)
async def test_any_other_answer_is_wrong(answers: list[str], complaint: str) -> None:
    result = await hold(FakePhone(Agent(answers)), turns=1)
    assert complaint in result.turns[0].reason


async def test_an_answer_that_breaks_off_ends_the_callers_patience() -> None:
    phone = FakePhone(Agent(["the first", "a long second answer to be broken off"]))
    result = await hold(phone)
    assert [bool(turn.reason) for turn in result.turns] == [True, False]


async def test_an_answer_is_interrupted_and_the_next_one_is_whole() -> None:
    phone = FakePhone(Agent(["a long second answer to be broken off", "the third"]))
    result = await hold(phone, (LINES[1], OVER), turns=1)
    interrupted, over = result.turns
    assert (interrupted.reason, over.reason) == ("", "")
    assert over.clear_ms == pytest.approx(CLEARED_AFTER_S * 1000)
    assert interrupted.clear_ms is None
    assert over.response_ms == pytest.approx(800, abs=0.2)
    assert phone.playback.clears == 1


async def test_what_was_heard_before_an_interruption_must_be_right_too() -> None:
    phone = FakePhone(Agent(["another long answer to be broken off", "the third"]))
    result = await hold(phone, (LINES[1], OVER), turns=1)
    assert "word 1" in result.turns[0].reason
    assert result.turns[1].reason == ""


async def test_an_agent_that_speaks_on_is_wrong() -> None:
    phone = FakePhone(Agent(["a long second answer to be broken off and more of it", "the third"], clears=False))
    result = await hold(phone, (LINES[1], OVER), turns=1)
    assert result.turns[1].clear_ms is None
    assert all(turn.reason for turn in result.turns)


async def test_a_refused_call_is_no_wrong_one() -> None:
    result = await hold(FakePhone(Agent([]), refuses=True))
    assert result.refused
    assert result.up_at is None
    assert result.sentences == ["All lines are busy."]
    assert not result.failure


async def test_a_call_that_ends_early_leaves_its_turn_wrong() -> None:
    result = await hold(FakePhone(Agent(["the first answer"]), drops_at=3.0))
    assert "ended" in result.failure
    assert [bool(turn.reason) for turn in result.turns] == [True]


async def test_the_beginning_of_an_early_answer_is_no_part_of_the_interrupted_one() -> None:
    agent = Agent(["a long second answer to be broken off", "the third"])

    class Early(FakePhone):
        async def speak(self, mulaw: bytes) -> Spoken:
            self.agent.response_s = RESPONSE_S if self.agent.lines == 0 else -0.4
            return await super().speak(mulaw)

    result = await hold(Early(agent), (LINES[1], OVER), turns=1)
    assert [turn.reason for turn in result.turns] == ["", ""]


async def test_each_interruption_has_a_clear_of_its_own() -> None:
    long = "a long second answer to be broken off"
    phone = FakePhone(Agent([long, "the third", long, "the third"]))
    result = await hold(phone, (LINES[1], OVER), turns=2)
    assert [turn.reason for turn in result.turns] == [""] * 4
    assert [turn.clear_ms for turn in result.turns] == [None, pytest.approx(250), None, pytest.approx(250)]


async def test_what_is_heard_while_the_caller_speaks_is_no_answer() -> None:
    class Late(FakePhone):
        async def speak(self, mulaw: bytes) -> Spoken:
            self._say(self.now + 0.3, "late")
            return await super().speak(mulaw)

    result = await hold(Late(Agent(["the first answer"], clears=False)), turns=1)
    assert result.turns[0].response_ms == pytest.approx(800, abs=0.2)
    assert "“late the first answer”" in result.turns[0].reason


async def test_gaps_in_answers_are_counted() -> None:
    phone = FakePhone(Agent(["the first answer"], stutters=True))
    result = await hold(phone, turns=1)
    # In the greeting and in the answer.
    assert result.underruns == 2


def test_a_line_counts_when_its_answer_is_over() -> None:
    turns = [Turn("early", 1.0), Turn("wrong", 2.0, reason="no answer"), Turn("right", 3.0)]
    result = CallResult(0, [*turns, Turn("open", 4.0, reason=PENDING)])
    assert result.judged(since=2.0) == 2
