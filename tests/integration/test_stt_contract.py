"""The contract of a recogniser, passed by every STT provider: real speech in, the right words out, one answer each."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import numpy as np
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from services.stt.provider import Failure, Hypothesis, Listener, Open, Transcriber
from services.stt.providers import offline
from services.stt.providers.deepgram import Deepgram
from services.stt.resilient import Choice, ResilientTranscriber
from shared import espeak, phrases, scenario
from shared.agents import AgentProfile, SttProfile
from shared.audio import FRAME_BYTES, SILENCE, bytes_of
from shared.breakers import Breakers
from shared.pcm import encode
from shared.settings import Settings
from simulator.ear import PhraseBook
from simulator.standins.behaviour import Behaviour
from simulator.standins.deepgram import add_routes
from tests.fakes import profile

SCRIPT = [line.say for line in scenario.load("bella").script]
ORDERS = ["my order number is one two three four", "my order number is one two three five"]
ONSET_MS, HANG_OVER_MS = 100, 260
"""How late the VAD tells of speech and of silence."""
AFTERWARDS_MS = 1500
"""The line stays open: a provider that judges turns itself listens to the silence."""
FLUX = SttProfile(provider="deepgram", model="flux-general-en")


class Ear:
    """What comes out of a recogniser."""

    def __init__(self) -> None:
        self.heard: list[Hypothesis] = []
        self.failures: list[Exception] = []
        self._changed = asyncio.Event()

    def hear(self, hypothesis: Hypothesis) -> None:
        self.heard.append(hypothesis)
        self._changed.set()

    @property
    def complete(self) -> list[str]:
        """The finished utterances."""
        texts = [""]
        for hypothesis in self.heard:
            if hypothesis.final:
                texts[-1] = phrases.normalize(f"{texts[-1]} {hypothesis.text}")
            if hypothesis.complete:
                texts.append("")
        return texts[:-1]

    async def until_complete(self, count: int) -> list[str]:
        async with asyncio.timeout(10):
            while len(self.complete) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.complete


class Caller:
    """One call: speaks to its recogniser in frames of 20 ms, as fast as it takes them."""

    def __init__(self, transcriber: Transcriber, ear: Ear) -> None:
        self.transcriber = transcriber
        self.ear = ear

    async def feed(self, mulaw: bytes) -> None:
        for start in range(0, len(mulaw), FRAME_BYTES):
            await self.transcriber.feed(mulaw[start : start + FRAME_BYTES].ljust(FRAME_BYTES, SILENCE))

    async def speak(self, mulaw: bytes) -> None:
        """One utterance, with the marks where the VAD would set them."""
        await self.feed(silence(400))
        onset = bytes_of(ONSET_MS)
        await self.feed(mulaw[:onset])
        await self.transcriber.begin()
        await self.feed(mulaw[onset:] + silence(HANG_OVER_MS))
        await self.transcriber.finish()
        await self.feed(silence(AFTERWARDS_MS))

    async def say(self, text: str) -> None:
        await self.speak(espeak.trim(espeak.speak(text).mulaw))


OpenCall = Callable[[], Awaitable[Caller]]


def silence(ms: int) -> bytes:
    return SILENCE * bytes_of(ms)


def noise(ms: int) -> bytes:
    return encode((np.random.default_rng(5).standard_normal(bytes_of(ms)) * 800).astype(np.int16))


def resilient(open_one: Open) -> Open:
    """Opens a transcriber that would outlive the provider."""

    async def open_transcriber(agent: AgentProfile, listener: Listener, failure: Failure) -> Transcriber:
        transcriber = ResilientTranscriber("CA1", [Choice("only", agent, open_one)], Breakers(Settings()), failure, 4.0)
        await transcriber.open()
        transcriber.listener = listener
        return transcriber

    return open_transcriber


@pytest_asyncio.fixture(params=["offline", "deepgram", "flux", "resilient deepgram", "resilient flux"])
async def open_call(request: pytest.FixtureRequest) -> AsyncIterator[OpenCall]:
    """Opens calls with one provider, and closes them when the test is over."""
    book = PhraseBook()
    for text in [*SCRIPT, *ORDERS]:
        book.learn(text)
    app = web.Application()
    add_routes(app, Behaviour(), book)
    opened: list[Caller] = []
    async with TestServer(app) as server:
        settings = Settings(deepgram_api_key=SecretStr("stand-in"), deepgram_base_url=str(server.make_url("")))
        providers: dict[str, Open] = {
            "offline": offline.open_transcriber,
            "deepgram": Deepgram(settings).open_transcriber,
            "flux": Deepgram(settings).open_transcriber,
        }
        name = request.param.removeprefix("resilient ")
        agent = profile().model_copy(update={"stt": FLUX}) if name == "flux" else profile()
        open_provider = providers[name] if name == request.param else resilient(providers[name])

        async def open_one() -> Caller:
            ear = Ear()
            transcriber = await open_provider(agent, ear.hear, ear.failures.append)
            opened.append(Caller(transcriber, ear))
            return opened[-1]

        yield open_one
        for caller in opened:
            await caller.transcriber.close()
            assert caller.ear.failures == []


@pytest_asyncio.fixture
async def caller(open_call: OpenCall) -> Caller:
    return await open_call()


async def test_a_whole_conversation_is_understood(caller: Caller) -> None:
    for text in SCRIPT:
        await caller.say(text)
    assert await caller.ear.until_complete(len(SCRIPT)) == [phrases.normalize(text) for text in SCRIPT]


async def test_similar_order_numbers_are_told_apart(caller: Caller) -> None:
    for text in ORDERS:
        await caller.say(text)
    assert await caller.ear.until_complete(2) == ORDERS


async def test_interim_texts_come_before_the_final_one(caller: Caller) -> None:
    await caller.say(SCRIPT[1])
    await caller.ear.until_complete(1)
    finals = [hypothesis.final for hypothesis in caller.ear.heard]
    assert finals == sorted(finals)
    interims = [hypothesis.text for hypothesis in caller.ear.heard if not hypothesis.final]
    assert all(interims)
    assert not any(hypothesis.complete for hypothesis in caller.ear.heard[:-1])


@pytest.mark.parametrize("sound", [silence(600), noise(600), noise(60)])
async def test_a_finish_after_no_words_is_answered_once_and_empty(caller: Caller, sound: bytes) -> None:
    await caller.speak(sound)
    await caller.say(SCRIPT[0])
    assert await caller.ear.until_complete(2) == ["", SCRIPT[0]]


async def test_speech_that_is_not_understood_gives_none_of_the_known_words(caller: Caller) -> None:
    await caller.say("my car broke down on the highway this morning")
    assert await caller.ear.until_complete(1) in ([""], [phrases.normalize(offline.UNINTELLIGIBLE)])


async def test_a_finish_without_any_audio_is_answered(caller: Caller) -> None:
    await caller.transcriber.finish()
    assert await caller.ear.until_complete(1) == [""]


async def test_each_finish_has_exactly_one_answer(caller: Caller) -> None:
    for number in range(1, 11):
        await caller.say(SCRIPT[number % len(SCRIPT)])
        await caller.ear.until_complete(number)
    await caller.feed(silence(3000))
    await caller.transcriber.finish()
    assert len(await caller.ear.until_complete(11)) == 11


async def test_audio_between_utterances_makes_no_text(caller: Caller) -> None:
    await caller.say(SCRIPT[0])
    await caller.ear.until_complete(1)
    await caller.feed(silence(4000))
    await caller.say(SCRIPT[3])
    await caller.ear.until_complete(2)
    assert caller.ear.complete == [phrases.normalize(SCRIPT[0]), phrases.normalize(SCRIPT[3])]


async def test_calls_do_not_hear_each_other(open_call: OpenCall) -> None:
    callers = [await open_call() for _ in SCRIPT]
    await asyncio.gather(*(caller.say(text) for caller, text in zip(callers, SCRIPT, strict=True)))
    for caller, text in zip(callers, SCRIPT, strict=True):
        assert await caller.ear.until_complete(1) == [phrases.normalize(text)]


async def test_closing_in_the_middle_of_an_utterance_is_quick_and_silent(caller: Caller) -> None:
    await caller.feed(silence(400))
    await caller.transcriber.begin()
    await caller.feed(espeak.speak(SCRIPT[0]).mulaw)
    async with asyncio.timeout(1):
        await caller.transcriber.close()
    assert caller.ear.complete == []
    assert caller.ear.failures == []
