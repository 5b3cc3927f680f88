"""A recogniser whose providers fail as the test wants, in a time that the test makes pass."""

import asyncio

import pytest

from services.stt.provider import Failure, Hypothesis, Listener, Transcriber, Usage
from services.stt.resilient import Choice, ResilientTranscriber
from shared.agents import AgentProfile
from shared.audio import FRAME_BYTES, FRAME_MS
from shared.failover import Pace
from shared.messages import Word
from shared.provider_errors import NobodyServes, ProviderLost, Unavailable
from shared.stage import CannotServe
from shared.turn_taking import TurnProfile
from tests.fleet import Fleet

FRAME = b"\x01" * FRAME_BYTES
COMPLETE = Hypothesis("", final=True, complete=True)
GIVEN_UP = Hypothesis("", final=True, complete=True, given_up=True)


class Ears:
    """One connection of a provider."""

    def __init__(self, model: str, listener: Listener, failure: Failure) -> None:
        self.model, self.listener, self.failure = model, listener, failure
        self.got: list[str] = []
        self.closed = False

    async def feed(self, mulaw: bytes) -> None:
        self.got.append("frame")

    async def begin(self) -> None:
        self.got.append("begin")

    async def finish(self) -> None:
        self.got.append("finish")

    async def close(self) -> None:
        self.closed = True

    @property
    def story(self) -> list[str]:
        """What it got, frames in a row as one."""
        return [item for index, item in enumerate(self.got) if item != "frame" or self.got[index - 1 : index] != [item]]


class Provider:
    """Opens connections, or does not."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ears: list[Ears] = []
        self.refuses: CannotServe | None = None
        self.tries = 0
        self.opened = asyncio.Event()

    async def open(self, profile: AgentProfile, listener: Listener, failure: Failure) -> Transcriber:
        self.tries += 1
        if self.refuses is not None:
            raise self.refuses
        self.ears.append(Ears(f"{self.name}-model", listener, failure))
        self.opened.set()
        return self.ears[-1]

    @property
    def newest(self) -> Ears:
        return self.ears[-1]


class Call:
    """A transcriber with two providers, and a clock that only waits move."""

    def __init__(self, *names: str, answer_s: float = 60.0) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self.heard: list[Hypothesis] = []
        self.failures: list[Exception] = []
        self.failed = asyncio.Event()
        self.fleet = Fleet()
        self.providers = [Provider(name) for name in names or ("a", "b")]
        profile = AgentProfile(name="test", turns=TurnProfile(patience_ms=200))
        choices = [Choice(each.name, profile, each.open) for each in self.providers]
        pace = Pace(8.0, lambda: self.now, self.sleep, lambda: 1.0)
        self.transcriber = ResilientTranscriber("CA1", choices, self.fleet, self.fail, answer_s, pace)
        self.transcriber.listener = self.heard.append

    async def sleep(self, seconds: float) -> None:
        self.waits.append(round(seconds, 3))
        self.now += seconds
        await asyncio.sleep(0)

    def fail(self, error: Exception) -> None:
        self.failures.append(error)
        self.failed.set()

    async def feed(self, ms: int) -> None:
        for _ in range(ms // FRAME_MS):
            await self.transcriber.feed(FRAME)

    async def settle(self) -> None:
        """Everything that can happen now has happened."""
        for _ in range(20):
            await asyncio.sleep(0)


def unavailable() -> Unavailable:
    return Unavailable("away", "connection")


async def test_the_first_loss_brings_another_connection_of_the_same_provider_and_the_audio_since_the_last_final() -> (
    None
):
    call = Call()
    await call.transcriber.open()
    a, b = call.providers
    await call.feed(3000)
    await call.transcriber.begin()
    await call.feed(500)
    a.newest.failure(ProviderLost("gone"))
    await call.feed(100)
    await call.settle()
    await call.transcriber.finish()
    assert (len(a.ears), len(b.ears)) == (2, 0)
    assert a.ears[0].closed
    assert a.newest.story == ["frame", "begin", "frame", "finish"]
    assert a.newest.got.count("frame") == 1600 // FRAME_MS
    assert call.waits == []
    a.newest.listener(COMPLETE)
    assert call.heard == [COMPLETE]
    assert call.fleet.failures == [("stt.a", "connection")]
    await call.transcriber.close()


async def test_times_count_in_all_that_was_fed_whoever_tells_them() -> None:
    call = Call("a")
    await call.transcriber.open()
    await call.feed(5000)
    await call.transcriber.begin()
    await call.feed(1000)
    (a,) = call.providers
    a.newest.failure(ProviderLost("gone"))
    await call.settle()
    words = (Word(text="hi", start_ms=1200, end_ms=1400, confidence=1.0),)
    a.newest.listener(Hypothesis("hi", True, True, words=words, silent_from_ms=1400))
    (heard,) = call.heard
    assert (heard.words[0].start_ms, heard.words[0].end_ms, heard.silent_from_ms) == (5200, 5400, 5400)
    await call.transcriber.close()


async def test_a_provider_that_is_lost_again_before_it_answered_makes_way_for_the_next() -> None:
    call = Call()
    await call.transcriber.open()
    a, b = call.providers
    for _ in range(2):
        a.newest.failure(ProviderLost("gone"))
        await call.settle()
    assert (len(a.ears), len(b.ears)) == (2, 1)
    assert (call.transcriber.provider, call.transcriber.model) == ("b", "b-model")
    await call.transcriber.close()


async def test_a_lost_connection_has_nothing_to_say_any_more() -> None:
    call = Call("a")
    await call.transcriber.open()
    (a,) = call.providers
    a.newest.failure(ProviderLost("gone"))
    await call.settle()
    a.ears[0].listener(COMPLETE)
    a.ears[0].failure(ProviderLost("gone"))
    await call.settle()
    assert call.heard == []
    assert len(a.ears) == 2
    await call.transcriber.close()


async def test_when_nobody_serves_for_eight_seconds_the_call_is_told_once() -> None:
    call = Call()
    await call.transcriber.open()
    for provider in call.providers:
        provider.refuses = unavailable()
    call.providers[0].newest.failure(ProviderLost("gone"))
    await call.failed.wait()
    await call.feed(100)
    await call.settle()
    (failure,) = call.failures
    assert isinstance(failure, NobodyServes)
    assert "a: away; b: away" in str(failure)
    assert 8.0 < call.now < 14.0
    assert call.waits == sorted(call.waits)
    assert call.waits[0] == 0.2
    await call.transcriber.close()


async def test_audio_is_kept_while_nobody_serves() -> None:
    call = Call("a")
    await call.transcriber.open()
    (a,) = call.providers
    a.refuses = unavailable()
    a.opened.clear()
    a.newest.failure(ProviderLost("gone"))
    await call.transcriber.begin()
    await call.feed(400)
    await call.transcriber.finish()
    a.refuses = None
    await a.opened.wait()
    await call.settle()
    assert a.newest.story == ["begin", "frame", "finish"]
    await call.transcriber.close()


async def test_a_refused_choice_is_not_asked_again_and_not_told_to_the_fleet() -> None:
    call = Call()
    a, b = call.providers
    a.refuses = CannotServe("set A_KEY")
    await call.transcriber.open()
    assert call.transcriber.provider == "b"
    for _ in range(3):
        b.newest.failure(ProviderLost("gone"))
        await call.settle()
    assert a.tries == 1
    assert {name for name, _ in call.fleet.failures} == {"stt.b"}
    await call.transcriber.close()


async def test_a_choice_whose_breaker_is_open_is_skipped_at_the_lease_and_in_mid_call() -> None:
    call = Call("a", "b", "c")
    a, b, c = call.providers
    call.fleet.open_ones = {"stt.a"}
    await call.transcriber.open()
    call.fleet.open_ones |= {"stt.b"}
    b.newest.failure(ProviderLost("gone"))
    await call.settle()
    assert (a.tries, b.tries, c.tries) == (0, 1, 1)
    await call.transcriber.close()


async def test_a_call_that_has_nobody_else_asks_a_provider_whose_breaker_is_open_after_a_wait() -> None:
    call = Call("a")
    await call.transcriber.open()
    (a,) = call.providers
    call.fleet.open_ones = {"stt.a"}
    a.newest.failure(ProviderLost("gone"))
    await call.settle()
    assert len(a.ears) == 2
    assert call.waits == [0.2]
    await call.transcriber.close()


async def test_a_provider_that_is_lost_while_it_opens_is_not_used() -> None:
    call = Call()
    a, b = call.providers
    open_a = a.open

    async def lost_at_once(profile: AgentProfile, listener: Listener, failure: Failure) -> Transcriber:
        transcriber = await open_a(profile, listener, failure)
        failure(ProviderLost("gone"))
        return transcriber

    object.__setattr__(call.transcriber._choices[0], "open", lost_at_once)
    await call.transcriber.open()
    assert call.transcriber.provider == "b"
    assert len(b.ears) == 1
    await call.transcriber.close()
    assert a.newest.closed


async def test_what_a_caller_said_is_in_no_reason() -> None:
    call = Call("a")
    await call.transcriber.open()
    (a,) = call.providers
    a.refuses = CannotServe("set A_KEY")
    a.newest.failure(ValueError("the caller said 4111 1111"))
    await call.failed.wait()
    assert "4111" not in str(call.failures[0])
    assert call.fleet.failures == [("stt.a", "garbage")]
    await call.transcriber.close()


async def test_a_lease_that_nobody_can_serve_names_every_reason() -> None:
    call = Call("a", "b", "c")
    call.fleet.open_ones = {"stt.c"}
    call.providers[0].refuses = CannotServe("set A_KEY")
    call.providers[1].refuses = unavailable()
    with pytest.raises(CannotServe, match=r"set A_KEY; away; c has failed lately"):
        await call.transcriber.open()
    await call.transcriber.close()


async def test_an_utterance_that_was_given_up_is_replayed_once_before_it_has_no_words() -> None:
    call = Call("a")
    await call.transcriber.open()
    (a,) = call.providers
    await call.transcriber.begin()
    await call.feed(400)
    await call.transcriber.finish()
    a.newest.listener(GIVEN_UP)
    await call.settle()
    assert call.heard == []
    assert a.newest.story == ["begin", "frame", "finish"]
    a.newest.listener(GIVEN_UP)
    await call.settle()
    assert call.heard == [COMPLETE]
    assert len(a.ears) == 2
    assert call.fleet.failures == []
    await call.transcriber.close()


async def test_words_without_their_final_text_are_never_given_up() -> None:
    call = Call("a")
    await call.transcriber.open()
    (a,) = call.providers
    await call.transcriber.begin()
    await call.feed(400)
    a.newest.listener(Hypothesis("hello", final=False))
    await call.transcriber.finish()
    for connections in (2, 3, 4):
        a.newest.listener(GIVEN_UP)
        await call.settle()
        assert len(a.ears) == connections
    assert call.fleet.failures == [("stt.a", "timeout")] * 3
    assert [heard.final for heard in call.heard] == [False]
    await call.transcriber.close()


async def test_a_provider_that_answers_nothing_at_all_makes_way_for_the_next() -> None:
    call = Call(answer_s=0.01)
    await call.transcriber.open()
    _, b = call.providers
    await call.transcriber.finish()
    await asyncio.wait_for(b.opened.wait(), 5)
    assert call.fleet.failures == [("stt.a", "timeout")]
    await call.transcriber.close()


async def test_a_socket_that_is_closed_in_a_long_silence_is_opened_again_by_the_next_audio() -> None:
    call = Call("a")
    await call.transcriber.open()
    (a,) = call.providers
    await call.feed(100)
    call.now += 30
    a.newest.failure(ProviderLost("idle"))
    await call.settle()
    assert len(a.ears) == 1
    await call.feed(100)
    await call.settle()
    assert len(a.ears) == 2
    assert a.newest.got.count("frame") == 200 // FRAME_MS
    assert call.fleet.failures == []
    await call.transcriber.close()


async def test_the_fleet_hears_of_an_answer_once_for_each_connection() -> None:
    call = Call("a")
    await call.transcriber.open()
    (a,) = call.providers
    for _ in range(3):
        a.newest.listener(COMPLETE)
    a.newest.failure(ProviderLost("gone"))
    await call.settle()
    a.newest.listener(COMPLETE)
    await call.settle()
    assert call.fleet.successes == ["stt.a"] * 2
    await call.transcriber.close()


async def test_each_provider_is_on_the_bill_with_what_it_heard() -> None:
    call = Call()
    await call.transcriber.open()
    await call.transcriber.begin()
    await call.feed(1000)
    a, _ = call.providers
    a.refuses = unavailable()
    a.newest.failure(ProviderLost("gone"))
    await call.settle()
    await call.feed(1000)
    assert call.transcriber.usage() == [Usage("a", "a-model", 1.0), Usage("b", "b-model", 2.0)]
    await call.transcriber.close()


async def test_closing_while_nobody_serves_stops_the_tries() -> None:
    call = Call("a")
    await call.transcriber.open()
    (a,) = call.providers
    a.refuses = unavailable()
    a.newest.failure(ProviderLost("gone"))
    while a.tries < 3:
        await asyncio.sleep(0)
    await call.transcriber.close()
    tries = a.tries
    await call.settle()
    assert a.tries == tries
    assert call.failures == []
