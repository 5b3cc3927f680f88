"""The Deepgram stand-in on a free port, and what comes out of the provider that talks to it."""

import asyncio
from collections.abc import Callable

from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from services.stt.provider import Hypothesis, Transcriber
from services.stt.providers.deepgram import Deepgram
from services.stt.providers.deepgram_line import Patience
from shared import espeak
from shared.agents import AgentProfile, SttProfile
from shared.audio import FRAME_BYTES, SILENCE, bytes_of
from shared.settings import Settings
from shared.turn_taking import TurnProfile
from simulator.ear import PhraseBook
from simulator.standins.behaviour import Behaviour
from simulator.standins.deepgram import add_routes
from simulator.standins.deepgram_connection import Habits

BOOKING = "I would like to book a table for four people."
ORDER = "And my order number is one two,"
THANKS = "Thank you very much, goodbye."
PATIENT = Patience(finish_s=10, keep_alive_s=10)


def audio(text: str) -> bytes:
    return espeak.trim(espeak.speak(text).mulaw)


def silence(ms: int) -> bytes:
    return SILENCE * bytes_of(ms)


class Ear:
    """What the session would hear."""

    def __init__(self) -> None:
        self.heard: list[Hypothesis] = []
        self.failures: list[Exception] = []
        self._changed = asyncio.Event()

    def hear(self, hypothesis: Hypothesis) -> None:
        self.heard.append(hypothesis)
        self._changed.set()

    def fail(self, error: Exception) -> None:
        self.failures.append(error)
        self._changed.set()

    @property
    def complete(self) -> list[Hypothesis]:
        return [hypothesis for hypothesis in self.heard if hypothesis.complete]

    @property
    def final_text(self) -> str:
        return " ".join(hypothesis.text for hypothesis in self.heard if hypothesis.final and hypothesis.text)

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not reached():
                self._changed.clear()
                await self._changed.wait()

    async def completed(self, times: int) -> None:
        await self.until(lambda: len(self.complete) >= times)


class Vendor:
    """The stand-in on a port of its own."""

    def __init__(self, habits: Habits | None = None) -> None:
        self.behaviour, self.sockets = Behaviour(), 0
        book = PhraseBook()
        for text in (BOOKING, ORDER, THANKS):
            book.learn(text)
        app = web.Application()
        add_routes(app, self.behaviour, book, habits)
        self.server = TestServer(app)

    async def __aenter__(self) -> "Vendor":
        await self.server.start_server()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.server.close()

    async def open(
        self,
        ear: Ear,
        stt: SttProfile | None = None,
        key: str = "stand-in",
        patience: Patience = PATIENT,
        turns: TurnProfile | None = None,
    ) -> Transcriber:
        profile = AgentProfile(name="test", stt=stt or SttProfile(), turns=turns or TurnProfile())
        return await self.account(key, patience).open_transcriber(profile, ear.hear, ear.fail)

    def account(self, key: str = "stand-in", patience: Patience = PATIENT, connect_s: float = 2.5) -> Deepgram:
        url = str(self.server.make_url("")).rstrip("/")
        settings = Settings(deepgram_api_key=SecretStr(key), deepgram_base_url=url, provider_connect_s=connect_s)
        return Deepgram(settings, patience)

    def cut_the_line(self) -> None:
        """No goodbye."""
        assert self.server.runner is not None
        assert self.server.runner.server is not None
        for connection in self.server.runner.server.connections:
            assert connection.transport is not None
            connection.transport.abort()


async def feed(stream: Transcriber, mulaw: bytes) -> None:
    for at in range(0, len(mulaw), FRAME_BYTES):
        await stream.feed(mulaw[at : at + FRAME_BYTES].ljust(FRAME_BYTES, SILENCE))


async def say(stream: Transcriber, text: str) -> None:
    """As the session hears it: the end is noticed after some silence."""
    await feed(stream, silence(200) + audio(text))
    await stream.begin()
    await feed(stream, silence(180))
    await stream.finish()
