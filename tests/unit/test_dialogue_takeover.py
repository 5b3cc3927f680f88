"""A dialogue whose worker dies: another goes on, nothing said is lost, nothing comes twice."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.llm.provider import EndCall
from services.llm.store import BUCKET, KEEP_S
from shared.messages import (
    CallEnded,
    Control,
    ReplyEnd,
    SpeechFinal,
    SpeechStarted,
    TranscriptAgent,
    TranscriptCaller,
)
from shared.stage import CannotServe
from shared.turn_taking import DigitsProfile, SilenceProfile, TurnProfile
from tests.llm_model import ScriptedModel
from tests.llm_phone import Exchange, Phone, exchange_open, texts
from tests.llm_takeover import GREETING, HOURS, greeted, in_mid_reply, sent_to_tts, unread


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[Exchange]:
    async with exchange_open() as opened:
        yield opened


async def test_a_reply_cut_short_goes_on_in_its_generation_behind_its_words(exchange: Exchange) -> None:
    phone, piece = await in_mid_reply(exchange)
    model = ScriptedModel(HOURS)
    heard = "We are open from "
    await phone.take_over(model, generation=piece.generation, started=True, heard=heard, received=HOURS[0])
    end = (await unread(phone))[-1]
    assert (end.generation, end.turn_id) == (piece.generation, 1)
    sent = [m for m in await sent_to_tts(exchange) if m.generation == piece.generation]
    assert [(m.sequence, m.text) for m in sent] == [(0, HOURS[0]), (1, HOURS[1]), (1, HOURS[1]), (2, HOURS[2])]
    assert model.last_asked == [("assistant", GREETING), ("user", "what are your hours")]
    await phone.heard(piece.generation, "".join(HOURS))
    assert [(await phone.next(TranscriptAgent)).text for _ in range(2)] == [GREETING, "".join(HOURS)]
    assert exchange.sent("transcript.caller") == 1


async def test_without_a_word_from_the_gateway_it_goes_on_too(exchange: Exchange) -> None:
    phone, piece = await in_mid_reply(exchange)
    await phone.kill()
    await phone.lease_again(ScriptedModel(HOURS))
    end = (await unread(phone))[-1]
    assert (end.generation, isinstance(end, ReplyEnd) and end.pieces) == (piece.generation, 3)


async def test_a_turn_that_was_committed_and_not_answered_is_answered(exchange: Exchange) -> None:
    phone = await greeted(exchange, [asyncio.Event()])
    await phone.say("what are your hours")
    await phone.next(TranscriptCaller)
    await phone.take_over(ScriptedModel(HOURS), generation=1, over=True, complete=True)
    end, pieces = await phone.reply()
    assert (end.generation, end.turn_id, texts(pieces)) == (2, 1, HOURS)


async def test_a_reply_that_was_sent_whole_is_followed(exchange: Exchange) -> None:
    phone = await greeted(exchange, HOURS)  # type: ignore[arg-type]
    await phone.say("what are your hours")
    end, _ = await phone.reply()
    model = ScriptedModel(["At the harbour."])
    said = "".join(HOURS)
    await phone.take_over(model, generation=end.generation, started=True, complete=True, received=said, heard="We ")
    await phone.heard(end.generation, said)
    assert not model.asked
    phone.utterance = 1
    await phone.say("where are you")
    await phone.reply()
    assert model.last_asked[-2:] == [("assistant", said), ("user", "where are you")]


async def test_a_reply_whose_end_nobody_noticed_was_heard(exchange: Exchange) -> None:
    silence = SilenceProfile(reprompt_s=0.05, reprompts=("Hello?",))
    phone = await greeted(exchange, HOURS, turns=TurnProfile(endpointing_ms=100, silence=silence))  # type: ignore[arg-type]
    await phone.say("what are your hours")
    end, _ = await phone.reply()
    said = "".join(HOURS)
    line = {"complete": True, "over": True, "received": said, "heard": said}
    await phone.take_over(ScriptedModel(), generation=end.generation, started=True, **line)
    assert [(await phone.next(TranscriptAgent)).text for _ in range(2)] == [GREETING, said]
    assert texts((await phone.reply())[1]) == ["Hello?"]


async def test_a_reply_that_was_paused_goes_on_when_nothing_is_said(exchange: Exchange) -> None:
    phone, piece = await in_mid_reply(exchange)
    await phone.take_over(ScriptedModel(HOURS), generation=piece.generation, started=True, paused=True)
    resume = await phone.next(Control)
    assert (resume.action, resume.generation) == ("resume", piece.generation)


async def test_a_worker_that_takes_over_waits_for_the_caller_and_knows_how_often_it_asked(exchange: Exchange) -> None:
    silence = SilenceProfile(reprompt_s=0.05, reprompts=("Hello?", "Still there?"))
    phone = await greeted(exchange, turns=TurnProfile(silence=silence))
    end, _ = await phone.reply()
    await phone.heard(end.generation, "Hello?")
    await phone.take_over(ScriptedModel(), generation=end.generation, complete=True, over=True)
    assert texts((await phone.reply())[1]) == ["Still there?"]


async def test_a_greeting_that_was_not_said_is_said(exchange: Exchange) -> None:
    phone = await exchange.dial(ScriptedModel())
    await phone.take_over(ScriptedModel())
    assert texts((await phone.reply())[1]) == [GREETING]
    await phone.take_over(ScriptedModel(), generation=1, started=True)
    again = await unread(phone)
    assert [message.generation for message in again] == [1, 1]


async def test_a_hang_up_is_ordered_again_and_means_the_same(exchange: Exchange) -> None:
    phone = await greeted(exchange, ["Goodbye!", EndCall()])
    await phone.say("that is all")
    end, _ = await phone.reply()
    await phone.next(Control)
    await phone.take_over(ScriptedModel(), generation=end.generation, started=True, complete=True, received="Goodbye!")
    hangup = await phone.next(Control)
    assert (hangup.action, hangup.generation) == ("hangup", end.generation)


async def test_a_clear_that_may_not_have_been_sent_is_sent_again(exchange: Exchange) -> None:
    phone, piece = await in_mid_reply(exchange)
    await phone.heard(piece.generation, "We are ", "started")
    await phone.begin_to_say("no wait please")
    clear = await phone.next(Control)
    await phone.take_over(ScriptedModel(["Of course."]), generation=piece.generation, started=True, heard="We are ")
    assert (await phone.next(Control)).generation == clear.generation
    await phone.stt.send(SpeechStarted(utterance=2, t_ms=0))
    await phone.finish_saying("no wait please")
    assert texts((await phone.reply())[1]) == ["Of course."]


async def test_what_is_told_again_is_not_answered_again_and_the_rest_is_heard(exchange: Exchange) -> None:
    phone, piece = await in_mid_reply(exchange)
    await phone.heard(piece.generation, "".join(HOURS[:2]))
    await phone.take_over(ScriptedModel(["At the harbour."]), generation=piece.generation, over=True)
    phone.utterance = 0
    await phone.say("what are your hours")
    await phone.begin_to_say("where are")
    await phone.stt.send(SpeechFinal(utterance=2, text="where are", complete=False))
    await phone.stt.send(SpeechStarted(utterance=2, t_ms=0))
    await phone.stt.send(SpeechFinal(utterance=2, text="where are", complete=False))
    await phone.finish_saying("you")
    await phone.reply()
    turns = [await phone.next(TranscriptCaller) for _ in range(2)]
    assert [(turn.turn_id, turn.text) for turn in turns] == [(1, "what are your hours"), (2, "where are you")]


async def test_keys_come_again_and_count_once(exchange: Exchange) -> None:
    turns = TurnProfile(endpointing_ms=100, digits=DigitsProfile(timeout_ms=500))
    phone = await greeted(exchange, turns=turns)
    await phone.press("1", 1)
    await phone.press("2", 2)
    await phone.take_over(ScriptedModel(["Thank you."], ["Thanks."]), generation=1, over=True)
    for number, key in enumerate("123", 1):
        await phone.press(key, number)
    assert (await phone.next(TranscriptCaller)).text == "keys 1 2 3"
    end, _ = await phone.reply()
    await phone.heard(end.generation, "Thank you.")
    await phone.take_over(ScriptedModel(["Thanks."]), generation=end.generation, over=True)
    await phone.press("3", 3)
    await phone.press("4", 4)
    assert (await phone.next(TranscriptCaller)).text == "keys 4"


async def test_a_call_that_ended_leaves_no_key_and_one_that_moved_on_does(exchange: Exchange) -> None:
    bucket = await exchange.bus.bucket(BUCKET, KEEP_S)
    phone = await greeted(exchange)
    assert await bucket.keys() == ["CA1"]
    await phone.close()
    assert await bucket.keys() == ["CA1"]
    await phone.lease_again(ScriptedModel())
    await phone.taken(generation=1, over=True)
    await phone.gateway.send(CallEnded(reason="caller_hung_up", duration_ms=1))
    await phone.bus.settle()
    await phone.close()
    assert await bucket.keys() == []


async def test_a_stale_worker_lets_go_without_an_error(exchange: Exchange) -> None:
    phone = await greeted(exchange, ["Yes?"])
    stale = phone.session
    await phone.lease_again(ScriptedModel(["Yes?"]))
    assert not phone.failed
    await phone.taken(generation=1, over=True)
    await phone.say("hello")
    await phone.reply()
    await phone.bus.settle()
    assert phone.failed
    assert exchange.sent("event.error") == 0
    assert stale is not None
    await stale.close()
    await stale._call.close()


async def test_a_lease_that_is_older_than_the_dialogue_is_refused(exchange: Exchange) -> None:
    phone = await greeted(exchange)
    await phone.take_over(ScriptedModel())
    late = Phone(exchange.bus)
    with pytest.raises(CannotServe, match="newer lease"):
        await late.open(ScriptedModel())
    await late.call.close()


async def test_what_was_sent_and_not_saved_is_not_wanted_again_by_a_line_that_has_it(exchange: Exchange) -> None:
    phone = await greeted(exchange, [asyncio.Event()])
    await phone.say("what are your hours")
    await phone.next(TranscriptCaller)
    await phone.take_over(ScriptedModel(HOURS), generation=2, started=True, received="We are open from noon, until")
    end, pieces = await phone.reply()
    assert [(piece.sequence, piece.text) for piece in pieces] == [(1, "eleven. "), (2, "Every day.")]
    assert end.pieces == 3


async def test_a_call_that_was_about_to_end_ends_though_only_the_words_got_through(exchange: Exchange) -> None:
    phone = await greeted(exchange, [asyncio.Event()])
    await phone.say("that is all")
    await phone.next(TranscriptCaller)
    model = ScriptedModel(["Goodbye!", EndCall()])
    await phone.take_over(model, generation=2, started=True, complete=True, received="Goodbye!")
    hangup = await phone.next(Control)
    assert (hangup.action, hangup.generation) == ("hangup", 2)
    assert [piece.generation for piece in await sent_to_tts(exchange)] == [1]
