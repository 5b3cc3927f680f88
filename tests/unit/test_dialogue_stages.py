"""A dialogue whose voice, recogniser or line is replaced in mid-call."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest_asyncio

from services.llm.provider import EndCall
from shared.messages import (
    Control,
    LeaseChanged,
    ReplyText,
    SpeechFinal,
    SpeechPartial,
    SpeechStarted,
    SpeechStopped,
    TranscriptAgent,
    TranscriptCaller,
)
from shared.turn_taking import TurnProfile
from tests.llm_model import ScriptedModel
from tests.llm_phone import Exchange, exchange_open, texts
from tests.llm_takeover import GREETING, HOURS, greeted, in_mid_reply, sent_to_tts, unread


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[Exchange]:
    async with exchange_open() as opened:
        yield opened


async def test_a_new_voice_is_told_what_the_line_does_not_have(exchange: Exchange) -> None:
    phone, piece = await in_mid_reply(exchange)
    lost = LeaseChanged(leased="tts", worker="w", lease_epoch=1, state="lost")
    await phone.gateway.send(lost)
    await phone.taken("tts", 2, generation=piece.generation, received="We are open", heard="We", started=True)
    again = [await phone.next(ReplyText) for _ in range(2)]
    assert [(m.sequence, m.text) for m in again] == [(0, "from noon, "), (1, HOURS[1])]
    assert {m.generation for m in again} == {piece.generation}


async def test_what_is_written_while_there_is_no_voice_is_kept_for_the_next(exchange: Exchange) -> None:
    more = asyncio.Event()
    phone = await greeted(exchange, [HOURS[0], more, *HOURS[1:]])
    await phone.gateway.send(LeaseChanged(leased="tts", worker="w", lease_epoch=1, state="lost"))
    await phone.say("what are your hours")
    await phone.next(TranscriptCaller)
    more.set()
    await phone.bus.settle()
    assert [m.generation for m in await sent_to_tts(exchange)] == [1]
    await phone.taken("tts", 2, generation=1, over=True)
    assert texts((await phone.reply())[1]) == HOURS


async def test_a_reply_that_the_line_has_wholly_is_not_sent_again(exchange: Exchange) -> None:
    phone = await greeted(exchange, HOURS)  # type: ignore[arg-type]
    await phone.say("what are your hours")
    end, _ = await phone.reply()
    sent = len(await sent_to_tts(exchange))
    await phone.taken("tts", 2, generation=end.generation, complete=True, received="".join(HOURS))
    assert len(await sent_to_tts(exchange)) == sent


async def test_another_line_hears_what_the_caller_has_not(exchange: Exchange) -> None:
    more = asyncio.Event()
    model = [*HOURS[:2], "Every ", more, "day."]
    phone = await greeted(exchange, model, ["At the harbour."])
    await phone.say("what are your hours")
    piece = await phone.next(ReplyText)
    await phone.heard(piece.generation, "We are ", "playing")
    await phone.start(line=2)
    more.set()
    first, rest = await phone.reply(), await phone.next(TranscriptAgent)
    end, pieces = first
    assert (end.generation, end.turn_id) == (piece.generation + 1, 1)
    assert texts(pieces) == ["open from noon, ", HOURS[1], HOURS[2]]
    heard = await phone.next(TranscriptAgent)
    assert (rest.text, heard.text, heard.interrupted) == (GREETING, "We are ", False)
    await phone.heard(end.generation, "".join(texts(pieces)))
    await phone.say("where are you")
    await phone.reply()
    assert phone.session is not None
    asked = phone.session._answerer._model.last_asked  # type: ignore[attr-defined]
    assert asked[-2:] == [("assistant", "".join(HOURS)), ("user", "where are you")]


async def test_a_line_that_broke_with_a_report_goes_on_as_well(exchange: Exchange) -> None:
    phone = await greeted(exchange, HOURS)  # type: ignore[arg-type]
    await phone.say("what are your hours")
    end, _ = await phone.reply()
    await phone.heard(end.generation, HOURS[0], "cleared")
    await phone.start(line=2)
    again, pieces = await phone.reply()
    assert (again.turn_id, texts(pieces)) == (1, HOURS[1:])


async def test_a_protected_greeting_is_said_from_where_it_was_heard_and_stays_protected(exchange: Exchange) -> None:
    phone = await exchange.dial(ScriptedModel())
    await phone.start()
    greeting, _ = await phone.reply()
    await phone.heard(greeting.generation, "Bella Trattoria, good ", "playing")
    await phone.start(line=2)
    end, pieces = await phone.reply()
    assert (end.generation, end.turn_id, texts(pieces)) == (2, 0, ["day! How can I help you?"])


async def test_a_line_that_opens_when_all_was_heard_waits_for_the_caller(exchange: Exchange) -> None:
    phone = await greeted(exchange, ["Yes?"])
    sent = len(await sent_to_tts(exchange))
    await phone.start(line=2)
    assert len(await sent_to_tts(exchange)) == sent
    await phone.say("hello")
    assert texts((await phone.reply())[1]) == ["Yes?"]


async def test_the_worker_and_the_line_die_together(exchange: Exchange) -> None:
    phone, piece = await in_mid_reply(exchange)
    await phone.heard(piece.generation, "We are ", "playing")
    await phone.kill()
    await phone.lease_again(ScriptedModel(HOURS), line=0)
    await phone.start(line=2)
    end = (await unread(phone))[-1]
    sent = [m.text for m in await sent_to_tts(exchange) if m.generation == end.generation]
    assert "".join(sent).endswith("".join(HOURS[1:]))
    assert end.generation == piece.generation + 1


async def test_a_hang_up_follows_its_goodbye_to_the_next_line(exchange: Exchange) -> None:
    phone = await greeted(exchange, ["Thank you, goodbye!", EndCall()])
    await phone.say("that is all")
    end, _ = await phone.reply()
    await phone.heard(end.generation, "Thank ", "playing")
    await phone.next(Control)
    await phone.start(line=2)
    again, pieces = await phone.reply()
    hangup = await phone.next(Control)
    assert (texts(pieces), hangup.generation) == (["you, goodbye!"], again.generation)


async def test_a_lost_recogniser_ends_no_turn_and_its_words_come_once(exchange: Exchange) -> None:
    phone = await greeted(exchange, ["With pleasure."], turns=TurnProfile(endpointing_ms=100, final_timeout_ms=100))
    began = time.time() - 1
    await phone.stt.send(SpeechStarted(utterance=1, t_ms=1000, began_at=began, line=1))
    await phone.stt.send(SpeechPartial(utterance=1, text="a table for"))
    await phone.gateway.send(LeaseChanged(leased="stt", worker="w", lease_epoch=1, state="lost"))
    await phone.bus.settle()
    await phone.stt.send(SpeechStopped(utterance=1, t_ms=1900, ended_at=began + 0.5))
    await phone.bus.settle()
    await phone.taken("stt", 2)
    assert exchange.sent("transcript.caller") == 0
    phone.stt.epoch = 2
    await phone.stt.send(SpeechStarted(utterance=1, t_ms=1000, began_at=began, line=1))
    await phone.stt.send(SpeechFinal(utterance=1, text="a table for four", complete=True))
    await phone.stt.send(SpeechStopped(utterance=1, t_ms=1900, ended_at=began + 0.5))
    assert (await phone.next(TranscriptCaller)).text == "a table for four"
