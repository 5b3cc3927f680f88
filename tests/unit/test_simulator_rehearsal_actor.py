"""How a script's actions are played, on a phone whose time only moves when the caller waits."""

from typing import Any

import pytest

from shared.audio import RATE, bytes_of
from shared.turn_taking import TurnProfile
from simulator import sounds
from simulator.caller import Patience, Voice
from simulator.echo import Echo
from simulator.mouth import Spoken
from simulator.phone import CallOver
from simulator.playback import Playback
from simulator.rehearsal.actor import Actor, CannotAct
from simulator.rehearsal.screenplay import Step

PATIENCE = Patience(greeting_s=2, reply_s=3, reply_ends_s=20, quiet_s=0.7)


class SteadyVoice(Voice):
    """A second for each word; espeak-ng's own timing varies a little."""

    def render(self, text: str) -> bytes:
        return bytes([len(text)]) * (RATE * len(text.split()))


VOICE = SteadyVoice()


class FakePhone:
    """The agent speaks at the planned times."""

    def __init__(self, *agent: tuple[float, float]) -> None:
        """`agent`: (when audio comes, how many seconds of it)."""
        self.now = 0.0
        self.over = False
        self.ends_at = float("inf")
        self.playback = Playback(0.0)
        self.echo: Echo | None = None
        self.said: list[tuple[float, bytes]] = []
        self.pressed: list[tuple[float, str]] = []
        self._plan = list(agent)

    def clock(self) -> float:
        return self.now

    def _go_to(self, at: float) -> bool:
        happened = bool(self._plan) and self._plan[0][0] <= at
        if happened:
            self.now, seconds = self._plan.pop(0)
            self.playback.append(self.now, b"\x10" * bytes_of(seconds * 1000))
        else:
            self.now = min(at, self.ends_at)
        self.over = self.over or self.now >= self.ends_at
        return happened and not self.over

    async def speak(self, mulaw: bytes) -> Spoken:
        if self.over:
            raise CallOver("over")
        began = self.now
        self.said.append((began, mulaw))
        ended = began + len(mulaw) / RATE
        while self._go_to(ended):
            pass
        if self.over:
            raise CallOver("over")
        return Spoken(began, ended, tuple(began + frame / 50 for frame in range(len(mulaw) // 160)))

    async def press(self, digit: str) -> None:
        self.pressed.append((self.now, digit))

    async def hang_up(self) -> None:
        self.over = True

    async def changed(self, timeout_s: float) -> None:
        assert timeout_s > 0
        self._go_to(self.now + timeout_s)


class Stage:
    """An actor, its phone, and what it published."""

    def __init__(self, *agent: tuple[float, float]) -> None:
        self.phone = FakePhone(*agent)
        self.published: list[dict[str, Any]] = []
        self.actor = Actor(self.phone, VOICE, PATIENCE, TurnProfile(), self._publish)

    async def _publish(self, turns: dict[str, Any]) -> None:
        self.published.append(turns)

    async def act(self, **keys: object) -> None:
        step = Step.model_validate(keys)
        await self.actor.cue(step)
        await self.actor.act(step)


async def test_a_caller_waits_for_the_reply_and_its_end_before_saying_more() -> None:
    stage = Stage((2.0, 4.0))
    await stage.act(say="hello")
    await stage.act(say="goodbye")
    (_, first), (began, second) = stage.phone.said
    assert (first, second) == (VOICE.render("hello"), VOICE.render("goodbye"))
    assert began == pytest.approx(2.0 + 4.0 + 0.7)


async def test_a_reply_that_the_script_has_waited_for_is_not_waited_for_again() -> None:
    stage = Stage()
    await stage.act(say="hello")
    spoken = stage.phone.now
    stage.actor.answered()
    await stage.act(say="hello")
    assert stage.phone.said[1][0] == pytest.approx(spoken, abs=0.7)


async def test_at_once_waits_for_nothing() -> None:
    stage = Stage((0.1, 10.0))
    await stage.act(say="hello")
    now = stage.phone.now
    await stage.act(say="stop", at_once=True)
    assert stage.phone.said[1][0] == now


async def test_a_barge_in_begins_so_long_into_the_reply() -> None:
    stage = Stage((2.0, 10.0))
    await stage.act(say="hello")
    await stage.act(say="stop", over_reply_ms=1500)
    assert stage.phone.said[1][0] == pytest.approx(3.5)
    assert stage.actor.sound is not None
    assert stage.actor.sound.voiced_at == pytest.approx(3.5 + 0.24)


async def test_the_voice_that_counts_is_that_of_the_changed_threshold() -> None:
    stage = Stage((0.0, 10.0))
    await stage.act(turns={"barge_in": {"min_speech_ms": 400}})
    await stage.act(hum={"ms": 800}, over_reply_ms=1000)
    assert stage.published == [{"barge_in": {"min_speech_ms": 400}}]
    assert stage.actor.sound is not None
    assert stage.actor.sound.voiced_at == pytest.approx(1.0 + 0.38)


async def test_a_reply_that_is_too_short_to_be_interrupted_is_told() -> None:
    stage = Stage((0.0, 1.0))
    with pytest.raises(CannotAct, match="no reply was heard for 2000 ms"):
        await stage.act(cough={}, over_reply_ms=2000)
    assert stage.phone.said == []


async def test_an_agent_that_never_stops_is_told() -> None:
    stage = Stage((0.0, 60.0))
    with pytest.raises(CannotAct, match="did not fall silent within 20 s"):
        await stage.act(say="hello")


async def test_a_pause_within_a_sentence_is_silence() -> None:
    stage = Stage()
    await stage.act(say=["hello", 800, "goodbye"])
    [(_, mulaw)] = stage.phone.said
    assert mulaw == VOICE.render("hello") + b"\xff" * 6400 + VOICE.render("goodbye")


@pytest.mark.parametrize(
    ("step", "mulaw"),
    [
        ({"cough": {"ms": 400, "seed": 2}}, sounds.cough(400, seed=2)),
        ({"throat": {"ms": 500}}, sounds.throat(500)),
        ({"hum": {"ms": 500}}, sounds.hum(500)),
        ({"noise": {"ms": 500, "seed": 2}}, sounds.noise(500, seed=2)),
        ({"hold_music": {"s": 1.5}}, sounds.hold_music(1.5)),
    ],
)
async def test_sounds_begin_at_once_also_over_the_agent(step: dict[str, object], mulaw: bytes) -> None:
    stage = Stage((0.0, 30.0))
    await stage.act(**step)
    assert stage.phone.said == [(0.0, mulaw)]


async def test_keys_are_pressed_one_after_the_other() -> None:
    stage = Stage()
    await stage.act(press="12#")
    assert [digit for _, digit in stage.phone.pressed] == ["1", "2", "#"]
    assert [at for at, _ in stage.phone.pressed] == pytest.approx([0.0, 0.2, 0.4])
    assert stage.actor.sound is not None and stage.actor.sound.ended == pytest.approx(0.4)


async def test_silence_lasts_as_long_as_it_is_written() -> None:
    stage = Stage((1.0, 1.0))
    await stage.act(silence={"s": 3})
    assert stage.phone.now == pytest.approx(3.0)
    assert stage.actor.sound is None


async def test_an_echo_is_switched_on_and_off() -> None:
    stage = Stage()
    await stage.act(echo={"delay_ms": 200})
    assert stage.phone.echo == Echo(delay_ms=200, gain_db=-12.0)
    await stage.act(echo=False)
    assert stage.phone.echo is None


async def test_a_missing_greeting_is_told() -> None:
    await Stage((0.5, 1.0)).act(hear_greeting={})
    with pytest.raises(CannotAct, match="no greeting was heard within 2 s"):
        await Stage().act(hear_greeting={})


async def test_an_agent_may_hang_up_in_mid_sound_but_nothing_can_be_done_after_it() -> None:
    stage = Stage()
    stage.phone.ends_at = 2.0
    await stage.act(hold_music={"s": 10})
    assert stage.phone.now == 2.0
    with pytest.raises(CallOver):
        await stage.act(say="hello")
    await stage.act(hang_up={})
