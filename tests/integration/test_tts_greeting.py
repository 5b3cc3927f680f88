"""The greeting through the real stage, its voices and a broker: rendered once, then played at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from services.tts.greetings import KEEP_S, STORE, key_of
from services.tts.stage import TtsStage
from shared import nats_bus
from shared.agents import AgentProfile, TtsProfile
from shared.audio import duration_ms
from shared.bus import Bus
from shared.call import Call
from shared.channel import CallChannel
from shared.memory_bus import MemoryBus
from shared.messages import AudioOut, CallEnded, Control, ReplyEnd, ReplyText, UsageCounted
from shared.nats_bus import NatsBus
from shared.settings import Settings
from simulator.standins.behaviour import Behaviour
from simulator.standins.elevenlabs import add_routes
from tests.fakes import Heard
from tests.integration.worker_process import running


def agent(provider: str = "offline") -> AgentProfile:
    """With a greeting of its own, which no other test has left in the broker's store."""
    tts = TtsProfile.model_validate({"provider": provider})
    return AgentProfile(name="test", greeting=f"Good day, {uuid4().hex[:6]} speaking! How can I help?", tts=tts)


class Phone:
    """The gateway and the dialogue of one call."""

    def __init__(self, bus: Bus, profile: AgentProfile) -> None:
        self.profile = profile
        self.call_id = f"test-{uuid4().hex}"
        self.call = Call(profile, CallChannel(bus, self.call_id, "tts", 1))
        self.gateway = CallChannel(bus, self.call_id, "gateway", 1)
        self.dialogue = CallChannel(bus, self.call_id, "llm", 1)
        self.pieces: asyncio.Queue[AudioOut] = asyncio.Queue()
        self._bus = bus

    async def listen(self) -> None:
        self.usage = await Heard.on(self._bus, self.call_id)
        await self.gateway.on_audio_out("tts", self.pieces.put_nowait)
        await self.gateway.flush()

    async def hear_greeting(self, generation: int = 1) -> list[AudioOut]:
        text = self.profile.greeting
        await self.dialogue.send(ReplyText(generation=generation, turn_id=0, sequence=0, text=text))
        await self.dialogue.send(ReplyEnd(generation=generation, turn_id=0, pieces=1))
        async with asyncio.timeout(10):
            pieces = [await self.pieces.get()]
            while not pieces[-1].last:
                pieces.append(await self.pieces.get())
        return pieces


def said(pieces: list[AudioOut]) -> tuple[bytes, list[tuple[int, str]], bool]:
    """The audio, and where in it words end: how they travel together is a matter of when they were made."""
    audio, words = b"", []
    for piece in pieces:
        assert piece.offset_ms == duration_ms(audio)
        words += [(len(audio) + end, text) for end, text in piece.words]
        audio += piece.payload
    return audio, words, pieces[-1].last


@pytest_asyncio.fixture(params=["memory", "nats"])
async def any_bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    if request.param == "memory":
        yield MemoryBus()
        return
    bus = await nats_bus.connect(request.getfixturevalue("nats_url"), "test")
    yield bus
    await bus.close()


class Worker:
    """A worker's stage; `behaviour` is the vendor's."""

    def __init__(self, settings: Settings, behaviour: Behaviour) -> None:
        self.stage = TtsStage(settings)
        self.behaviour = behaviour

    async def greet(self, bus: Bus, profile: AgentProfile) -> tuple[list[AudioOut], float]:
        """A whole call: what is heard of its greeting, and the characters that it was billed for."""
        phone = Phone(bus, profile)
        await phone.listen()
        session = await self.stage.open(phone.call)
        pieces = await phone.hear_greeting()
        await until_kept(bus, profile)
        await session.close()
        await phone.call.close()
        # The last message of the call: what came before it was heard.
        await phone.gateway.send(CallEnded(reason="caller_hung_up", duration_ms=1))
        await phone.usage.wait_for(CallEnded)
        bills = [message for message in phone.usage.messages if isinstance(message, UsageCounted)]
        return pieces, sum(bill.amounts["characters"] for bill in bills)


async def until_kept(bus: Bus, profile: AgentProfile) -> bytes:
    store = await bus.objects(STORE, KEEP_S)
    async with asyncio.timeout(10):
        while (value := await store.get(key_of(profile.tts.provider, profile))) is None:
            await asyncio.sleep(0.005)
    return value


@pytest_asyncio.fixture
async def hire() -> AsyncIterator[Callable[[], Worker]]:
    """Makes workers that know each other only through the broker."""
    behaviour, app = Behaviour(), web.Application()
    add_routes(app, behaviour)
    async with TestServer(app) as server:
        settings = Settings(elevenlabs_api_key=SecretStr("stand-in"), elevenlabs_base_url=str(server.make_url("")))
        yield lambda: Worker(settings, behaviour)


@pytest.fixture(params=["offline", "elevenlabs"])
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_a_greeting_is_rendered_once_for_all_workers(
    any_bus: Bus, hire: Callable[[], Worker], provider: str
) -> None:
    profile = agent(provider)
    first, billed = await hire().greet(any_bus, profile)
    assert "".join(piece.text for piece in first) == profile.greeting
    assert 1500 < sum(duration_ms(piece.payload) for piece in first) < 8000
    assert billed == len(profile.greeting)
    again, billed_again = await hire().greet(any_bus, profile)
    assert said(again) == said(first)
    assert billed_again == 0


async def test_a_recorded_greeting_needs_no_vendor(any_bus: Bus, hire: Callable[[], Worker]) -> None:
    profile, worker = agent("elevenlabs"), hire()
    await worker.greet(any_bus, profile)
    worker.behaviour.tts_first_audio_ms = 60_000
    pieces, _ = await worker.greet(any_bus, profile)
    assert pieces[0].at - pieces[0].asked_at < 0.1


async def test_the_first_call_hears_a_greeting_that_was_spoken_while_the_phone_rang(
    bus: NatsBus, hire: Callable[[], Worker]
) -> None:
    profile, worker = agent("elevenlabs"), hire()
    worker.behaviour.tts_first_audio_ms = 300
    phone = Phone(bus, profile)
    await phone.listen()
    session = await worker.stage.open(phone.call)
    await until_kept(bus, profile)
    pieces = await phone.hear_greeting()
    assert pieces[0].at - pieces[0].asked_at < 0.1
    await session.close()
    await phone.call.close()


@pytest.mark.parametrize(
    "changes",
    [{"greeting": "Hello?"}, {"tts": TtsProfile(provider="offline", voice="en-gb-x-rp")}],
    ids=["text", "voice"],
)
async def test_a_changed_agent_has_another_greeting(
    bus: NatsBus, hire: Callable[[], Worker], changes: dict[str, object]
) -> None:
    before = agent()
    changed = before.model_copy(update=changes)
    pieces, _ = await hire().greet(bus, before)
    others, _ = await hire().greet(bus, changed)
    assert "".join(piece.text for piece in others) == changed.greeting
    assert sum(len(piece.payload) for piece in others) != sum(len(piece.payload) for piece in pieces)


async def test_a_broken_entry_is_replaced(any_bus: Bus, hire: Callable[[], Worker]) -> None:
    profile = agent()
    store, key = await any_bus.objects(STORE, KEEP_S), key_of("offline", profile)
    await store.put(key, b"broken")
    pieces, billed = await hire().greet(any_bus, profile)
    assert "".join(piece.text for piece in pieces) == profile.greeting
    assert billed > 0
    async with asyncio.timeout(10):
        while await store.get(key) == b"broken":
            await asyncio.sleep(0.005)
    assert said((await hire().greet(any_bus, profile))[0]) == said(pieces)


async def test_calls_at_the_same_time_all_hear_it(any_bus: Bus, hire: Callable[[], Worker], provider: str) -> None:
    profile, workers = agent(provider), [hire(), hire()]
    calls = await asyncio.gather(*(worker.greet(any_bus, profile) for worker in workers for _ in range(3)))
    assert all("".join(piece.text for piece in pieces) == profile.greeting for pieces, _ in calls)
    assert all([piece.last for piece in pieces].count(True) == 1 for pieces, _ in calls)
    last, billed = await hire().greet(any_bus, profile)
    assert said(last) in [said(pieces) for pieces, _ in calls]
    assert billed == 0


async def test_an_interruption_of_a_recorded_greeting_lets_the_next_reply_speak(
    bus: NatsBus, hire: Callable[[], Worker]
) -> None:
    profile, worker = agent(), hire()
    await worker.greet(bus, profile)
    phone = Phone(bus, profile)
    await phone.listen()
    session = await worker.stage.open(phone.call)
    await phone.hear_greeting()
    await phone.dialogue.send(Control(action="clear", generation=2))
    await phone.dialogue.send(ReplyText(generation=3, turn_id=1, sequence=0, text="Yes?"))
    piece = await asyncio.wait_for(phone.pieces.get(), 5)
    assert (piece.generation, piece.turn_id) == (3, 1)
    await session.close()
    await phone.call.close()


async def test_a_worker_process_plays_a_recorded_greeting_within_milliseconds(nats_url: str, bus: NatsBus) -> None:
    profile = agent()
    waits_ms: list[float] = []
    async with running("tts", nats_url, bus) as process:
        for _ in range(11):
            phone = Phone(bus, profile)
            await phone.listen()
            assert (await process.lease(phone.call_id, profile)).state == "granted"
            await until_kept(bus, profile)
            first = (await phone.hear_greeting())[0]
            waits_ms.append((first.at - first.asked_at) * 1000)
    assert sorted(waits_ms)[5] < 20
