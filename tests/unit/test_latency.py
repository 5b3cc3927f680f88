"""Where the time of a turn goes."""

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from services.llm.dialogue import Dialogue
from services.llm.memory import BUCKET, KEEP_S, Memory, MemoryStore, Record
from shared.channel import CallChannel
from shared.messages import Playback, SpeechFinal, SpeechStopped, TurnCompleted
from shared.turn_taking import TurnProfile
from tests.llm_model import ScriptedModel
from tests.llm_phone import PROFILE, Exchange, Phone, exchange_open


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[Exchange]:
    async with exchange_open() as opened:
        yield opened


PARTS = ("endpointing", "stt", "llm_first_token", "first_clause", "tts_first_audio", "gateway", "total")


class SetClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def set(self, now: float) -> Callable[[], None]:
        """Set it later."""
        return lambda: setattr(self, "now", now)


def observed(part: str) -> float:
    return REGISTRY.get_sample_value("trunkline_turn_seconds_sum", {"part": part}) or 0.0


async def test_a_turn_is_measured_from_the_last_speech_sample_to_the_first_audio(exchange: Exchange) -> None:
    before = {part: observed(part) for part in PARTS}
    bus, clock = exchange.bus, SetClock()
    model = ScriptedModel([clock.set(1001.2), "We are open ", clock.set(1001.3), "from noon to eleven. "])
    phone = Phone(bus, PROFILE.model_copy(update={"turns": TurnProfile(endpointing_ms=500)}))
    await phone.listen()
    store = MemoryStore(await bus.bucket(BUCKET, KEEP_S), "CA1", phone.call.spawn)
    dialogue = Dialogue(phone.call, "scripted", model, Memory(Record(), 10), store, clock)
    await dialogue.listen()
    stt, gateway = CallChannel(bus, "CA1", "stt", 1, clock), CallChannel(bus, "CA1", "gateway", 1, clock)

    clock.now = 1000.2
    await stt.send(SpeechStopped(utterance=1, t_ms=0, ended_at=1000.0))
    await bus.settle()
    clock.now = 1000.9
    await stt.send(SpeechFinal(utterance=1, text="hello", complete=True))
    generation = (await phone.reply())[0].generation
    clock.now = 1001.65
    audio = {"generation": generation, "state": "started", "heard": "", "heard_ms": 0, "synthesized_at": 1001.6}
    for _ in range(2):
        await gateway.send(Playback.model_validate(audio))
    turn = await phone.next(TurnCompleted)
    await bus.settle()

    expected = dict(zip(PARTS, (500, 400, 300, 100, 300, 50, 1650), strict=True))
    assert {part: getattr(turn, f"{part}_ms") for part in PARTS} == pytest.approx(expected)
    assert (turn.turn_id, turn.generation) == (1, generation)
    assert {part: (observed(part) - before[part]) * 1000 for part in PARTS} == pytest.approx(expected)
    assert exchange.sent("event.turn") == 1
    await dialogue.close()
    await phone.call.close()


async def test_the_greeting_is_no_turn_to_measure(exchange: Exchange) -> None:
    phone = await exchange.dial(ScriptedModel(["Yes?"]))
    await phone.start()
    greeting, _ = await phone.reply()
    await phone.heard(greeting.generation, "", "started")
    await phone.heard(greeting.generation, PROFILE.greeting)
    await phone.say("hello")
    end, _ = await phone.reply()
    await phone.heard(end.generation, "", "started")
    assert (await phone.next(TurnCompleted)).turn_id == 1
