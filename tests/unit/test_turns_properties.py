"""Turn-taking under random events: what must hold whatever the caller, the stages and the broker do."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from services.llm.actions import Action, Commit, HangUp, Interrupt, Pause, Resume, Say
from services.llm.turns import Event, Turns
from shared.messages import (
    Digit,
    Playback,
    SpeechFinal,
    SpeechPartial,
    SpeechStarted,
    SpeechStopped,
    SpeechSustained,
)
from shared.turn_taking import BargeInProfile, TurnProfile

WORDS = st.sampled_from(
    ["", "uh-huh", "no", "monday", "where are you", "we are open from noon", "and", "[unintelligible]"]
)
STATES = ("started", "playing", "paused", "resumed", "finished", "cleared")
ENOUGH = 60
"""Deadlines after which a call without events is over, at the latest."""


@dataclass
class Phone:
    """Obeys the machine as the dialogue does, and watches that it keeps its promises."""

    turns: Turns
    now: float = 1000.0
    generation: int = 0
    alive: int | None = None
    """The generation of the reply that lives."""
    paused: bool = False
    over: bool = False
    log: list[str] = field(default_factory=list)
    committed: list[str] = field(default_factory=list)
    """What was answered."""

    def obey(self, actions: list[Action]) -> None:
        for action in actions:
            self.log.append(type(action).__name__)
            assert not self.over, "nothing is done after the hang-up"
            if isinstance(action, Commit | Say):
                assert self.alive is None, "two replies alive"
                self.committed += [action.text] if isinstance(action, Commit) else []
                self._reply()
            elif isinstance(action, Interrupt):
                assert self.alive is not None, "there is nothing to interrupt"
                self.alive, self.paused = None, False
                self.generation += 1
            elif isinstance(action, Pause):
                assert (action.generation, self.paused) == (self.alive, False)
                self.paused = True
            elif isinstance(action, Resume):
                # After an interruption the caller holds the turn: `alive` is None until the next commit.
                assert (action.generation, self.paused) == (self.alive, True)
                self.paused = False
            elif isinstance(action, HangUp):
                self.over = True

    def _reply(self) -> None:
        self.generation += 1
        self.alive, self.paused = self.generation, False
        self.turns.reply_began(self.generation, self.now)
        self.turns.agent_said("we are open from noon until eleven", self.now)

    def happens(self, event: Event) -> None:
        if isinstance(event, Playback) and event.generation == self.alive and event.state in ("finished", "cleared"):
            self.alive, self.paused = None, False
        self.obey(self.turns.handle(event, self.now))

    def passes(self, seconds: float) -> None:
        """Time goes by; the timer rings at each deadline."""
        end = self.now + seconds
        while not self.over and (deadline := self.turns.deadline) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.obey(self.turns.tick(self.now))
        self.now = end


def _event(kind: int, utterance: int, text: str, flag: bool, phone: Phone) -> Event:
    if kind == 0:
        return SpeechStarted(utterance=utterance, t_ms=0, began_at=phone.now - 0.1, epoch=1)
    if kind == 1:
        return SpeechSustained(utterance=utterance, t_ms=0, speech_ms=250, reached_at=phone.now, epoch=1)
    if kind == 2:
        return SpeechPartial(utterance=utterance, text=text, likely_over=flag, epoch=1)
    if kind == 3:
        return SpeechFinal(
            utterance=utterance, text=text, complete=flag, turn_over=flag and utterance % 2 == 0, epoch=1
        )
    if kind == 4:
        return SpeechStopped(utterance=utterance, t_ms=0, ended_at=phone.now - 0.2, epoch=1)
    if kind == 5:
        return Digit(digit="#" if flag else "1")
    generation = phone.generation if flag else max(0, phone.generation - 1)
    return Playback.model_validate(
        {"generation": generation, "state": STATES[utterance % len(STATES)], "heard_ms": 0, "heard": ""}
    )


Step = tuple[int, int, str, bool, float]
"""What happens, in which utterance, with which words, whether fully, and how much time goes by then."""
PAUSES = st.sampled_from([0.0, 0.05, 0.3, 0.7, 1.5, 6.0, 30.0])
STEPS = st.lists(st.tuples(st.integers(0, 7), st.integers(1, 6), WORDS, st.booleans(), PAUSES), max_size=30)
PROFILES = st.builds(
    TurnProfile,
    speculation=st.booleans(),
    barge_in=st.builds(BargeInProfile, enabled=st.booleans(), protect_greeting=st.booleans()),
)


@settings(max_examples=200, deadline=None)
@given(PROFILES, STEPS, st.booleans())
def test_whatever_happens_the_turns_are_kept_and_every_call_ends(
    profile: TurnProfile, steps: list[Step], greets: bool
) -> None:
    phone = Phone(Turns(profile))
    phone.turns.begin(phone.now)
    if greets:
        phone.generation = phone.alive = 1
        phone.turns.reply_began(1, phone.now, protected=profile.barge_in.protect_greeting)
    for kind, utterance, text, flag, pause in steps:
        phone.happens(_event(kind, utterance, text, flag, phone))
        phone.passes(pause)
    for _ in range(ENOUGH):
        if phone.over:
            break
        assert phone.turns.deadline is not None, "no way out of this state"
        phone.passes(max(0.0, phone.turns.deadline - phone.now))
    assert phone.over, f"the call never ends: {phone.log[-10:]}"


@settings(max_examples=50, deadline=None)
@given(PROFILES, STEPS)
def test_the_machine_decides_the_same_twice(profile: TurnProfile, steps: list[Step]) -> None:
    logs = []
    for _ in range(2):
        phone = Phone(Turns(profile))
        phone.turns.begin(phone.now)
        for kind, utterance, text, flag, pause in steps:
            phone.happens(_event(kind, utterance, text, flag, phone))
            phone.passes(pause)
        logs.append(phone.log)
    assert logs[0] == logs[1]


Spell = tuple[str, float, bool, bool, float]
"""What the caller says in one breath, how long it takes, whether stt dies in it, whether before its last word is
told, and how much time goes by then."""
SPELLS = st.lists(
    st.tuples(
        st.sampled_from(["monday", "where are you", "a table please", "at eight"]),
        st.sampled_from([0.4, 0.9]),
        st.booleans(),
        st.booleans(),
        st.sampled_from([0.3, 0.8, 2.0, 7.0]),
    ),
    min_size=1,
    max_size=8,
)


@dataclass
class Ear:
    """The recogniser of a call, which dies now and then: the next one hears again what was not told, or its end."""

    phone: Phone
    began: float = 1000.0
    epoch: int = 1
    utterance: int = 0

    def ms(self, at: float) -> int:
        return round((at - self.began) * 1000)

    def hears(self, event: Event) -> None:
        self.phone.happens(event.model_copy(update={"epoch": self.epoch, "at": self.phone.now}))

    def tells(self, text: str, begin_ms: int, end_ms: int, *, final: bool = True) -> None:
        """One utterance, wholly or without its final words."""
        self.utterance += 1
        number = self.utterance
        began_at = self.began + begin_ms / 1000
        self.hears(SpeechStarted(utterance=number, t_ms=begin_ms, began_at=began_at, line=1))
        self.hears(SpeechPartial(utterance=number, text=text))
        self.hears(SpeechStopped(utterance=number, t_ms=end_ms, ended_at=self.began + end_ms / 1000))
        if final:
            self.hears(SpeechFinal(utterance=number, text=text, complete=True))

    def dies(self, text: str, begin_ms: int, end_ms: int, *, told: bool) -> None:
        self.phone.turns.stt_lost(self.epoch)
        self.phone.passes(0.6)
        self.epoch, self.utterance = self.epoch + 1, 0
        self.phone.turns.stt_taken(self.epoch, self.phone.now)
        if told:
            # Only the end of what was told is heard again.
            self.tells(text.split()[-1], max(begin_ms + 1, end_ms - 300), end_ms)
        else:
            self.tells(text, begin_ms, end_ms)


@settings(max_examples=150, deadline=None)
@given(SPELLS, st.booleans())
def test_no_word_is_lost_or_answered_twice_when_recognisers_die(spells: list[Spell], interrupts: bool) -> None:
    phone = Phone(Turns(TurnProfile(speculation=False, barge_in=BargeInProfile(enabled=interrupts))))
    phone.turns.begin(phone.now)
    ear = Ear(phone)
    expected: list[str] = []
    for text, lasts, dies, told, pause in spells:
        begin_ms = ear.ms(phone.now)
        phone.passes(lasts)
        if phone.over:
            break
        expected += text.split()
        end_ms = ear.ms(phone.now)
        ear.tells(text, begin_ms, end_ms, final=told or not dies)
        if dies:
            ear.dies(text, begin_ms, end_ms, told=told)
        phone.passes(pause)
        if phone.alive is not None:
            done = {"generation": phone.alive, "state": "finished", "heard_ms": 0, "heard": ""}
            phone.happens(Playback.model_validate(done))
    phone.passes(6.0)
    while phone.alive is not None and not phone.over:
        done = {"generation": phone.alive, "state": "finished", "heard_ms": 0, "heard": ""}
        phone.happens(Playback.model_validate(done))
        phone.passes(3.0)
    assert " ".join(phone.committed).split() == expected
