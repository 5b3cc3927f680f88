"""A vendor of speech that fails, on its real sockets: the caller hears the whole reply, and nothing of it twice."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from services.tts.provider import Piece
from services.tts.providers.elevenlabs import ElevenLabs
from services.tts.resilient import Choice, ResilientVoice
from shared.agents import TtsProfile
from shared.audio import duration_ms
from shared.failover import Pace
from shared.provider_errors import NobodyServes
from shared.settings import Settings
from shared.stage import CannotServe
from simulator.standins.behaviour import Behaviour, Fault
from simulator.standins.elevenlabs import add_routes
from simulator.standins.elevenlabs_speech import speak
from tests.fleet import Fleet
from tests.integration.test_tts_contract import Ear

FAULTS: tuple[Fault, ...] = ("hang", "429", "500", "drop", "garbage")
FIRST, SECOND = "A table for four people, with the greatest of pleasure. ", "For which day, and at what time?"
REPLY = FIRST + SECOND
VOICE = "EXAVITQu4vr4xnSDxMaL"
CONNECT_S, ANSWER_S = 0.3, 0.4


class Line:
    """A call whose voice has several choices, each at a vendor of its own."""

    def __init__(self, urls: list[str], behaviour: Behaviour, give_up_s: float = 8.0) -> None:
        self.behaviour, self.ear, self.fleet = behaviour, Ear(), Fleet()
        self.in_the_middle: Callable[[], None] = lambda: None
        choices = [
            Choice(name, TtsProfile(voice=VOICE), ElevenLabs(self._settings(url)).open_voice)
            for name, url in zip(("first", "second"), urls, strict=False)
        ]
        self.voice = ResilientVoice("CA1", choices, self.fleet, self.ear.fail, ANSWER_S, Pace(give_up_s))
        self.voice.listener = self._hear

    def _settings(self, url: str) -> Settings:
        return Settings(
            elevenlabs_api_key=SecretStr("stand-in"),
            elevenlabs_base_url=url,
            provider_connect_s=CONNECT_S,
        )

    async def _hear(self, piece: Piece) -> None:
        await self.ear.hear(piece)
        self.in_the_middle()

    def fail_with(self, fault: Fault) -> None:
        self.behaviour.tts_fault = fault

    async def say(self, generation: int) -> None:
        await self.voice.speak(generation, FIRST)
        await self.voice.speak(generation, SECOND)
        await self.voice.end(generation)

    async def reply(self, generation: int) -> str:
        pieces = await self.ear.reply(generation)
        assert [piece.last for piece in pieces].count(True) == 1
        return "".join(piece.text for piece in pieces)


@pytest_asyncio.fixture
async def vendors() -> AsyncIterator[tuple[list[str], Behaviour]]:
    behaviours = Behaviour(), Behaviour()
    async with AsyncExitStack() as stack:
        urls: list[str] = []
        for behaviour in behaviours:
            app = web.Application()
            add_routes(app, behaviour)
            server = await stack.enter_async_context(TestServer(app))
            urls.append(str(server.make_url("")).rstrip("/"))
        yield urls, behaviours[0]


Vendors = tuple[list[str], Behaviour]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_in_mid_reply_costs_no_word_and_doubles_none(vendors: Vendors, fault: Fault) -> None:
    line = Line(*vendors)
    await line.voice.open()
    line.in_the_middle = lambda: line.fail_with(fault)
    await line.say(1)
    assert await line.reply(1) == REPLY
    assert line.voice.provider == "second"
    whole_ms = sum(duration_ms(speak(text, VOICE).mulaw) for text in (FIRST, SECOND))
    said_ms = sum(duration_ms(piece.mulaw) for piece in line.ear.of(1))
    # A word that was cut is said again, and what is said in two parts has a pause between them.
    assert whole_ms - 200 < said_ms < whole_ms + 900
    assert {name for name, _ in line.fleet.failures} == {"tts.first"}

    line.in_the_middle = lambda: None
    await line.say(2)
    assert await line.reply(2) == REPLY
    assert line.ear.failures == []
    await line.voice.close()


@pytest.mark.parametrize("fault", FAULTS)
async def test_without_a_fallback_the_same_vendor_is_asked_again_until_it_serves(
    vendors: Vendors, fault: Fault
) -> None:
    urls, behaviour = vendors
    line = Line(urls[:1], behaviour)
    await line.voice.open()
    line.in_the_middle = lambda: line.fail_with(fault)
    await line.say(1)
    await line.ear.until(lambda: bool(line.ear.pieces))
    line.in_the_middle = lambda: None
    async with asyncio.timeout(5):
        while len(line.fleet.failures) < 2:
            await asyncio.sleep(0.01)
    line.fail_with("")
    assert await line.reply(1) == REPLY
    assert line.ear.failures == []
    await line.voice.close()


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_at_the_lease_brings_the_fallback(vendors: Vendors, fault: Fault) -> None:
    line = Line(*vendors)
    line.fail_with(fault)
    await line.voice.open()
    # Who talks nonsense is found out by what it says.
    assert line.voice.provider == ("first" if fault == "garbage" else "second")
    await line.say(1)
    assert await line.reply(1) == REPLY
    assert line.voice.provider == "second"
    assert {name for name, _ in line.fleet.failures} == {"tts.first"}
    await line.voice.close()


@pytest.mark.parametrize(("fault", "reason"), [("hang", "TimeoutError"), ("429", "429"), ("500", "500")])
async def test_a_fault_at_the_lease_without_a_fallback_cannot_serve(
    vendors: Vendors, fault: Fault, reason: str
) -> None:
    urls, behaviour = vendors
    line = Line(urls[:1], behaviour)
    line.fail_with(fault)
    with pytest.raises(CannotServe, match=reason):
        await line.voice.open()
    await line.voice.close()


async def test_what_was_interrupted_while_the_voice_was_gone_is_never_said(vendors: Vendors) -> None:
    line = Line(*vendors)
    await line.voice.open()
    line.in_the_middle = lambda: line.fail_with("hang")
    await line.say(1)
    await line.ear.until(lambda: bool(line.fleet.failures))
    await line.voice.cancel(2)
    heard = len(line.ear.pieces)
    await line.say(2)
    assert await line.reply(2) == REPLY
    assert {piece.generation for piece in line.ear.pieces[heard:]} == {2}
    await line.voice.close()


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_vendor_that_never_comes_back_ends_the_voice_once(vendors: Vendors, fault: Fault) -> None:
    urls, behaviour = vendors
    line = Line(urls[:1], behaviour, give_up_s=0.1)
    await line.voice.open()
    line.fail_with(fault)
    await line.say(1)
    await line.ear.until(lambda: bool(line.ear.failures))
    await line.say(2)
    (failure,) = line.ear.failures
    assert isinstance(failure, NobodyServes)
    assert line.ear.pieces == []
    await line.voice.close()
