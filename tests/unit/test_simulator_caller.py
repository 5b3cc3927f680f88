"""How a caller listens: on a phone whose time only moves when the caller waits."""

from collections.abc import Callable

import pytest

from shared.audio import RATE, SILENCE, bytes_of
from simulator.caller import Caller, Patience, Voice
from simulator.mouth import Spoken
from simulator.playback import Playback

LOUD = b"\x10"
PATIENCE = Patience(greeting_s=5, reply_s=10, reply_ends_s=60, quiet_s=0.7)


def loud(seconds: float) -> bytes:
    return LOUD * bytes_of(seconds * 1000)


class FakePhone:
    """Speech takes its time; what the agent does is planned by time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.over = False
        self.playback = Playback(0.0)
        self._plan: list[tuple[float, Callable[[], object]]] = []

    def clock(self) -> float:
        return self.now

    def plan(self, at: float, audio: bytes) -> None:
        self._plan.append((at, lambda: self.playback.append(self.now, audio)))

    def plan_clear(self, at: float) -> None:
        self._plan.append((at, lambda: self.playback.clear(self.now)))

    def plan_end(self, at: float) -> None:
        def end() -> None:
            self.over = True

        self._plan.append((at, end))

    def _go_to(self, at: float) -> bool:
        """Move to `at`, or to what happens before it."""
        happened = bool(self._plan) and self._plan[0][0] <= at
        if happened:
            self.now, action = self._plan.pop(0)
            action()
        else:
            self.now = at
        return happened

    async def speak(self, mulaw: bytes) -> Spoken:
        began, ended = self.now, self.now + len(mulaw) / RATE
        while self._go_to(ended):
            pass
        return Spoken(began, ended)

    async def changed(self, timeout_s: float) -> None:
        assert timeout_s > 0
        self._go_to(self.now + timeout_s)


async def test_the_reply_ends_after_a_stretch_of_silence() -> None:
    phone = FakePhone()
    phone.plan(1.5, SILENCE * 800 + loud(1.0))
    phone.plan(2.9, loud(0.5))
    turn = await Caller(phone, PATIENCE).say(loud(1.0))
    assert turn.reason == ""
    assert turn.latency_ms == pytest.approx(600)
    assert phone.now == pytest.approx(3.4 + 0.7)
    assert turn.audio.count(LOUD) == 12_000
    assert turn.audio.endswith(LOUD)


async def test_audio_that_comes_faster_than_it_plays_is_waited_for() -> None:
    phone = FakePhone()
    for _ in range(5):
        phone.plan(1.2, loud(2.0))
    turn = await Caller(phone, PATIENCE).say(loud(1.0))
    assert phone.now == pytest.approx(1.2 + 10 + 0.7)
    assert turn.latency_ms == pytest.approx(200)


async def test_a_line_that_never_stops_sending_silence_is_quiet() -> None:
    phone = FakePhone()
    phone.plan(1.5, loud(1.0))
    for tenth in range(25, 200):
        phone.plan(tenth / 10, SILENCE * 800)
    assert (await Caller(phone, PATIENCE).say(loud(1.0))).reason == ""
    assert phone.now == pytest.approx(3.2)


async def test_a_rest_within_the_queued_reply_does_not_end_it() -> None:
    phone = FakePhone()
    phone.plan(1.5, loud(1.0) + SILENCE * RATE + loud(1.0))
    await Caller(phone, PATIENCE).say(loud(1.0))
    assert phone.now == pytest.approx(4.5 + 0.7)


async def test_no_reply_is_a_reason() -> None:
    phone = FakePhone()
    turn = await Caller(phone, PATIENCE).say(loud(1.0))
    assert (turn.reason, turn.latency_ms, turn.audio) == ("no answer was heard within 10 s", None, b"")
    assert phone.now == pytest.approx(11.0)


async def test_silence_is_no_reply() -> None:
    phone = FakePhone()
    phone.plan(1.5, SILENCE * RATE)
    assert (await Caller(phone, PATIENCE).say(loud(1.0))).reason == "no answer was heard within 10 s"


async def test_a_call_that_ends_before_the_reply_is_a_reason() -> None:
    phone = FakePhone()
    phone.plan_end(3.0)
    turn = await Caller(phone, PATIENCE).say(loud(1.0))
    assert turn.reason == "the call ended"
    assert phone.now == pytest.approx(3.0)


async def test_a_reply_without_end_is_a_reason() -> None:
    phone = FakePhone()
    for second in range(1, 100):
        phone.plan(float(second), loud(1.0))
    turn = await Caller(phone, PATIENCE).say(loud(1.0))
    assert turn.reason == "the answer did not end within 60 s"


async def test_an_agent_that_hangs_up_after_its_answer_has_answered() -> None:
    phone = FakePhone()
    phone.plan(1.5, loud(1.0))
    phone.plan_end(2.6)
    turn = await Caller(phone, PATIENCE).say(loud(1.0))
    assert turn.reason == ""
    assert turn.audio.count(LOUD) == RATE


async def test_the_greeting_is_heard_to_its_end() -> None:
    phone = FakePhone()
    phone.plan(0.4, loud(2.0))
    assert (await Caller(phone, PATIENCE).hear_greeting()).count(LOUD) == 2 * RATE
    assert phone.now == pytest.approx(2.4 + 0.7)


async def test_without_a_greeting_the_caller_begins() -> None:
    phone = FakePhone()
    assert await Caller(phone, PATIENCE).hear_greeting() == b""
    assert phone.now == pytest.approx(5.0)


async def test_a_reply_is_known_when_its_first_sound_is_queued() -> None:
    phone = FakePhone()
    phone.plan(1.0, loud(0.5))
    phone.plan(4.0, SILENCE * RATE + loud(1.0))
    caller = Caller(phone, PATIENCE)
    assert await caller.wait_for_reply(0.0, 10) == pytest.approx(1.0)
    assert await caller.wait_for_reply(2.0, 10) == pytest.approx(5.0)
    assert phone.now == pytest.approx(4.0)
    assert await caller.wait_for_reply(8.0, 1.5) is None
    assert phone.now == pytest.approx(5.5)


async def test_quiet_is_awaited_no_longer_than_asked() -> None:
    phone = FakePhone()
    phone.plan(1.0, loud(3.0))
    await phone.changed(1.5)
    caller = Caller(phone, PATIENCE)
    assert not await caller.wait_until_quiet(1.0)
    assert phone.now == pytest.approx(2.0)
    assert await caller.wait_until_quiet(10)
    assert phone.now == pytest.approx(4.7)


async def test_a_caller_waits_until_the_next_reply_has_been_heard_for_a_while() -> None:
    phone = FakePhone()
    phone.plan(2.0, SILENCE * 800 + loud(5.0))
    assert await Caller(phone, PATIENCE).wait_playing(800, 10)
    assert phone.now == pytest.approx(2.9)


async def test_what_was_heard_of_the_current_reply_before_counts() -> None:
    phone = FakePhone()
    phone.plan(1.0, loud(5.0))
    await phone.changed(1.0)
    await phone.changed(1.5)
    assert phone.now == 2.5
    assert await Caller(phone, PATIENCE).wait_playing(2000, 10)
    assert phone.now == pytest.approx(3.0)
    assert await Caller(phone, PATIENCE).wait_playing(500, 10)
    assert phone.now == pytest.approx(3.0)


async def test_a_reply_that_is_over_does_not_count() -> None:
    phone = FakePhone()
    phone.plan(1.0, loud(2.0))
    phone.plan(6.0, loud(2.0))
    await phone.changed(1.0)
    await phone.changed(4.0)
    assert await Caller(phone, PATIENCE).wait_playing(500, 10)
    assert phone.now == pytest.approx(6.5)


async def test_pauses_within_a_reply_are_not_heard() -> None:
    phone = FakePhone()
    phone.plan(1.0, loud(0.4) + SILENCE * bytes_of(500) + loud(5.0))
    assert await Caller(phone, PATIENCE).wait_playing(1000, 10)
    assert phone.now == pytest.approx(1.0 + 1.0 + 0.5)


async def test_a_clear_ends_the_reply_and_what_comes_next_counts_from_its_beginning() -> None:
    phone = FakePhone()
    phone.plan(1.0, loud(5.0))
    phone.plan_clear(1.5)
    phone.plan(1.8, loud(5.0))
    assert await Caller(phone, PATIENCE).wait_playing(800, 10)
    assert phone.now == pytest.approx(2.6)


async def test_waiting_for_no_time_is_waiting_for_the_first_sound() -> None:
    phone = FakePhone()
    phone.plan(1.0, loud(1.0))
    assert await Caller(phone, PATIENCE).wait_playing(0, 10)
    assert phone.now == pytest.approx(1.0, abs=0.002)


async def test_a_reply_that_is_too_short_is_told() -> None:
    phone = FakePhone()
    phone.plan(1.0, loud(1.0))
    assert not await Caller(phone, PATIENCE).wait_playing(1500, 4)
    assert phone.now == pytest.approx(4.0)


async def test_waiting_for_a_reply_to_play_ends_with_the_call() -> None:
    phone = FakePhone()
    phone.plan(1.0, loud(0.2))
    phone.plan_end(2.0)
    assert not await Caller(phone, PATIENCE).wait_playing(500, 60)
    assert phone.now == pytest.approx(2.0)


def test_a_voice_has_no_silence_around_its_words() -> None:
    slow, fast = Voice("en-us", 120).render("what did I book"), Voice("en-us", 240).render("what did I book")
    assert 0.5 < len(fast) / RATE < len(slow) / RATE < 3
