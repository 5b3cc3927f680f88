"""A voice whose providers fail as the test wants."""

import asyncio

import pytest

from services.tts.provider import Failure, Listener, Piece, Synthesizer, Usage
from services.tts.resilient import Choice, ResilientVoice
from shared.agents import TtsProfile
from shared.failover import Pace
from shared.provider_errors import NobodyServes, ProviderLost, Unavailable
from shared.stage import CannotServe
from tests.fleet import Fleet

SOUND = b"\x01" * 800


class Mouth:
    """One connection of a provider: it says what the test tells it to."""

    def __init__(self, model: str, listener: Listener, failure: Failure) -> None:
        self.model, self.listener, self.failure = model, listener, failure
        self.got: list[tuple[int, str]] = []
        self.closed = False

    async def speak(self, generation: int, text: str) -> None:
        self.got.append((generation, text))

    async def end(self, generation: int) -> None:
        self.got.append((generation, "END"))

    async def cancel(self, generation: int) -> None:
        self.got.append((generation, "CANCEL"))

    async def close(self) -> None:
        self.closed = True

    async def say(self, generation: int, text: str, *, last: bool = False) -> None:
        await self.listener(Piece(generation, SOUND, text, last))


class Provider:
    """Opens connections, or does not."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.mouths: list[Mouth] = []
        self.refuses: CannotServe | None = None
        self.opened = asyncio.Event()

    async def open(self, profile: TtsProfile, listener: Listener, failure: Failure) -> Synthesizer:
        if self.refuses is not None:
            raise self.refuses
        self.mouths.append(Mouth(f"{self.name}-model", listener, failure))
        self.opened.set()
        return self.mouths[-1]

    @property
    def newest(self) -> Mouth:
        return self.mouths[-1]


class Call:
    """A voice with two providers, and a clock that only waits move."""

    def __init__(self, *names: str, answer_s: float = 60.0) -> None:
        self.now = 0.0
        self.heard: list[tuple[int, str, bool]] = []
        self.failures: list[Exception] = []
        self.failed = asyncio.Event()
        self.fleet = Fleet()
        self.providers = [Provider(name) for name in names or ("a", "b")]
        choices = [Choice(each.name, TtsProfile(), each.open) for each in self.providers]
        pace = Pace(8.0, lambda: self.now, self.sleep, lambda: 1.0)
        self.voice = ResilientVoice("CA1", choices, self.fleet, self.fail, answer_s, pace)
        self.voice.listener = self.hear

    async def hear(self, piece: Piece) -> None:
        self.heard.append((piece.generation, piece.text, piece.last))

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)

    def fail(self, error: Exception) -> None:
        self.failures.append(error)
        self.failed.set()

    async def lose(self, mouth: Mouth) -> None:
        """It is gone, and everything that can happen then has happened."""
        mouth.failure(ProviderLost("gone"))
        for _ in range(20):
            await asyncio.sleep(0)


async def test_what_was_not_said_is_said_by_the_next_connection_and_the_reply_goes_on() -> None:
    call = Call()
    await call.voice.open()
    a, _ = call.providers
    await call.voice.speak(1, "One two three. ")
    await a.newest.say(1, "One ")
    await call.lose(a.newest)
    assert a.newest.got == [(1, "two three. ")]
    await call.voice.speak(1, "Four.")
    await call.voice.end(1)
    assert a.newest.got[1:] == [(1, "Four."), (1, "END")]
    await a.newest.say(1, "two three. ")
    await a.newest.say(1, "Four.", last=True)
    assert "".join(text for _, text, _ in call.heard) == "One two three. Four."
    assert [last for _, _, last in call.heard] == [False, False, True]
    await call.voice.close()


async def test_text_that_comes_while_nobody_serves_is_said_by_whoever_does() -> None:
    call = Call("a")
    await call.voice.open()
    (a,) = call.providers
    a.refuses = Unavailable("away", "connection")
    a.newest.failure(ProviderLost("gone"))
    await call.voice.speak(1, "Hello. ")
    await call.voice.end(1)
    a.opened.clear()
    a.refuses = None
    await a.opened.wait()
    for _ in range(5):
        await asyncio.sleep(0)
    assert a.newest.got == [(1, "Hello. "), (1, "END")]
    await call.voice.close()


async def test_a_reply_that_lacks_only_its_end_is_ended_by_the_next_connection() -> None:
    call = Call("a")
    await call.voice.open()
    (a,) = call.providers
    await call.voice.speak(1, "Hello.")
    await call.voice.end(1)
    await a.newest.say(1, "Hello.")
    await call.lose(a.newest)
    assert a.newest.got == [(1, "END")]
    await call.voice.close()


async def test_a_reply_that_was_complete_or_cancelled_is_not_said_again() -> None:
    call = Call("a")
    await call.voice.open()
    (a,) = call.providers
    await call.voice.speak(1, "One.")
    await call.voice.end(1)
    await a.newest.say(1, "One.", last=True)
    await call.voice.speak(2, "Two.")
    await call.voice.cancel(3)
    await call.voice.speak(2, "Too late.")
    await call.lose(a.newest)
    assert a.newest.got == []
    await call.voice.speak(3, "Three.")
    assert a.newest.got == [(3, "Three.")]
    await call.voice.close()


async def test_every_reply_that_is_alive_is_said_again() -> None:
    call = Call("a")
    await call.voice.open()
    (a,) = call.providers
    await call.voice.speak(0, "Good day.")
    await call.voice.end(0)
    await call.voice.speak(1, "Hello.")
    await call.lose(a.newest)
    assert a.newest.got == [(0, "Good day."), (0, "END"), (1, "Hello.")]
    await call.voice.close()


async def test_a_lost_connection_has_nothing_to_say_any_more() -> None:
    call = Call("a")
    await call.voice.open()
    (a,) = call.providers
    await call.voice.speak(1, "Hello.")
    await call.lose(a.newest)
    await a.mouths[0].say(1, "Hello.")
    assert call.heard == []
    assert a.mouths[0].closed
    await call.voice.close()


async def test_a_provider_that_makes_no_sound_of_a_text_is_lost() -> None:
    call = Call("a", answer_s=0.01)
    await call.voice.open()
    (a,) = call.providers
    a.opened.clear()
    await call.voice.speak(1, "Hello.")
    await asyncio.wait_for(a.opened.wait(), 5)
    assert call.fleet.failures[0] == ("tts.a", "timeout")
    await call.voice.close()


async def test_a_provider_that_owes_the_end_of_a_reply_is_lost() -> None:
    call = Call("a", answer_s=0.01)
    await call.voice.open()
    (a,) = call.providers
    await call.voice.speak(1, "Hello.")
    await a.newest.say(1, "Hello.")
    a.opened.clear()
    await call.voice.end(1)
    await asyncio.wait_for(a.opened.wait(), 5)
    await call.voice.close()


@pytest.mark.parametrize("text", ["Hello.", "... "])
async def test_a_pause_of_the_dialogue_is_no_silence_of_the_provider(text: str) -> None:
    call = Call("a", answer_s=0.01)
    await call.voice.open()
    (a,) = call.providers
    await call.voice.speak(1, text)
    if text == "Hello.":
        await a.newest.say(1, text)
    a.opened.clear()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(a.opened.wait(), 0.05)
    await call.voice.close()


async def test_when_nobody_serves_any_more_the_call_is_told_once() -> None:
    call = Call()
    await call.voice.open()
    for provider in call.providers:
        provider.refuses = Unavailable("away", "connection")
    call.providers[0].newest.failure(ProviderLost("gone"))
    await call.failed.wait()
    await call.voice.speak(1, "Hello.")
    await call.voice.end(1)
    (failure,) = call.failures
    assert isinstance(failure, NobodyServes)
    await call.voice.close()


async def test_each_provider_is_on_the_bill_with_what_it_was_given() -> None:
    call = Call()
    await call.voice.open()
    await call.voice.speak(1, "One two.")
    a, b = call.providers
    await a.newest.say(1, "One ")
    a.refuses = Unavailable("away", "connection")
    await call.lose(a.newest)
    assert call.voice.usage() == [Usage("a", "a-model", 8), Usage("b", "b-model", 4)]
    assert call.fleet.successes == ["tts.a"]
    await b.newest.say(1, "two.")
    await asyncio.sleep(0)
    assert call.fleet.successes == ["tts.a", "tts.b"]
    await call.voice.close()
