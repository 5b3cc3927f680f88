"""How often a dialogue is kept, and what each time. Over the bus in memory."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from services.llm.record import Record
from services.llm.store import BUCKET
from shared.messages import Playback, SpeechFinal, SpeechPartial, SpeechStarted
from tests.llm_model import ScriptedModel
from tests.llm_phone import Exchange, Phone, exchange_open
from tests.llm_takeover import greeted

_REPLY = "We are open from noon, until eleven. Every day."


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[Exchange]:
    async with exchange_open() as opened:
        yield opened


class Ledger:
    """What is kept and what tts is sent, in order."""

    def __init__(self) -> None:
        self.entries: list[Record | str] = []

    @classmethod
    async def of(cls, exchange: Exchange) -> "Ledger":
        ledger = cls()
        await exchange.bus.subscribe(f"$KV.{BUCKET}.CA1", ledger._on_saved)
        await exchange.bus.subscribe("call.CA1.reply.*", ledger._on_reply)
        return ledger

    async def _on_saved(self, subject: str, value: bytes) -> None:
        self.entries.append(msgspec.json.decode(value, type=Record))

    async def _on_reply(self, subject: str, payload: bytes) -> None:
        self.entries.append(subject.rpartition(".")[2])

    @property
    def saved(self) -> list[Record]:
        return [entry for entry in self.entries if isinstance(entry, Record)]


async def kept(phone: Phone) -> None:
    """All that was to be kept by now is."""
    await phone.bus.settle()
    assert phone.session is not None
    await phone.session._store.close(5)
    await phone.bus.settle()


async def _prepared(phone: Phone, model: ScriptedModel) -> None:
    """The reply to a turn is written before the turn is over."""
    await phone.stt.send(SpeechStarted(utterance=1, t_ms=0))
    await phone.stt.send(SpeechPartial(utterance=1, text="what are your hours?", likely_over=True))
    await phone.bus.settle()
    async with asyncio.timeout(5):
        while not model.said:
            await asyncio.sleep(0)


async def test_a_reply_that_was_written_before_is_kept_with_its_turn_and_before_tts_hears_of_it(
    exchange: Exchange,
) -> None:
    model = ScriptedModel([_REPLY])
    phone = await exchange.dial(model)
    await phone.start()
    greeting, _ = await phone.reply()
    await phone.heard(greeting.generation, "Bella Trattoria, good day!")
    await _prepared(phone, model)
    await kept(phone)
    ledger = await Ledger.of(exchange)
    await phone.stt.send(SpeechFinal(utterance=1, text="what are your hours?", complete=True, turn_over=True))
    await phone.reply()
    await kept(phone)
    record, *sent = ledger.entries
    assert sent == ["text", "text", "text", "end"]
    assert isinstance(record, Record)
    assert record.reply is not None
    assert (record.turn_id, record.reply.text, record.reply.ended) == (1, _REPLY, True)


@pytest.mark.parametrize(("heard_ms", "saves"), [(range(0, 1999, 499), 0), (range(0, 6001, 500), 3)])
async def test_what_the_caller_hears_is_kept_every_two_seconds_of_it(
    exchange: Exchange, heard_ms: range, saves: int
) -> None:
    phone = await greeted(exchange, [_REPLY])
    await phone.say("what are your hours")
    end, _ = await phone.reply()
    await kept(phone)
    ledger = await Ledger.of(exchange)
    for ms in heard_ms:
        await phone.gateway.send(Playback(generation=end.generation, state="playing", heard_ms=ms, heard="We are"))
        await kept(phone)
    assert len(ledger.saved) == saves
