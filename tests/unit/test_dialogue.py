"""Whole dialogues over the bus in memory, with a model that says what the test wants."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from services.llm.provider import ChatModel, ProviderFailed
from services.llm.stage import LlmStage
from services.llm.store import BUCKET, KEEP_S
from shared.agents import AgentProfile
from shared.channel import CallChannel
from shared.messages import (
    Control,
    ReplyText,
    SpeechFinal,
    SpeechStarted,
    SpeechStopped,
    TranscriptAgent,
    TranscriptCaller,
)
from shared.stage import CannotServe, ClosingStage
from shared.turn_taking import BargeInProfile, TurnProfile
from tests.llm_model import ScriptedModel
from tests.llm_phone import PROFILE, Exchange, Phone, exchange_open, texts


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[Exchange]:
    async with exchange_open() as opened:
        yield opened


async def test_the_greeting_is_spoken_once(exchange: Exchange) -> None:
    phone = await exchange.dial(ScriptedModel(["Hello there."]))
    await phone.start()
    await phone.start()
    end, pieces = await phone.reply()
    assert texts(pieces) == ["Bella Trattoria, good day! How can I help you?"]
    assert [(piece.turn_id, piece.generation, piece.sequence) for piece in pieces] == [(0, 1, 0)]
    assert (end.turn_id, end.generation, end.pieces) == (0, 1, 1)
    await phone.say("hello")
    assert (await phone.next(ReplyText)).turn_id == 1


async def test_an_agent_without_a_greeting_waits_for_the_caller(exchange: Exchange) -> None:
    model = ScriptedModel(["Yes?"])
    phone = await exchange.dial(model, PROFILE.model_copy(update={"greeting": ""}))
    await phone.start()
    await phone.say("hello")
    end, pieces = await phone.reply()
    assert (end.turn_id, texts(pieces)) == (1, ["Yes?"])
    assert model.last_asked == [("user", "hello")]


async def test_the_model_knows_who_it_is_and_how_long_a_reply_may_be(exchange: Exchange) -> None:
    model = ScriptedModel(["Yes?"])
    phone = await exchange.dial(model)
    await phone.say("hello")
    await phone.reply()
    prompt = model.asked[0][0]
    assert prompt.role == "system"
    assert prompt.content.startswith("You are Bella.")
    assert "Bella Trattoria" in prompt.content
    assert "300 characters" in prompt.content


async def test_replies_come_in_pieces_with_growing_generations(exchange: Exchange) -> None:
    model = ScriptedModel(
        ["We are open from noon, ", "until eleven. Every", " day."], ["Twelve Harbour Street, behind the market."]
    )
    phone = await exchange.dial(model)
    await phone.say("what are your hours")
    asked = await phone.next(TranscriptCaller)
    assert (asked.turn_id, asked.text) == (1, "what are your hours")
    first, pieces = await phone.reply()
    assert texts(pieces) == ["We are open from noon, ", "until eleven. ", "Every day."]
    assert [piece.sequence for piece in pieces] == [0, 1, 2]
    assert first.pieces == 3
    await phone.heard(first.generation, "We are open from noon, until eleven. Every day.")
    transcript = await phone.next(TranscriptAgent)
    assert (transcript.turn_id, transcript.generation, transcript.interrupted) == (1, first.generation, False)
    await phone.say("where are you")
    second, pieces = await phone.reply()
    assert second.turn_id == 2
    assert second.generation > first.generation
    assert {piece.generation for piece in pieces} == {second.generation}
    assert model.last_asked == [
        ("user", "what are your hours"),
        ("assistant", "We are open from noon, until eleven. Every day."),
        ("user", "where are you"),
    ]


async def test_the_turn_is_committed_by_the_timer_when_the_wait_is_over(exchange: Exchange) -> None:
    phone = await exchange.dial(ScriptedModel(["Yes?"]))
    ended_at = time.time()
    stt = CallChannel(exchange.bus, "CA1", "stt", 1)
    await stt.send(SpeechStarted(utterance=1, t_ms=0))
    await stt.send(SpeechStopped(utterance=1, t_ms=0, ended_at=ended_at))
    await stt.send(SpeechFinal(utterance=1, text="hello", complete=True))
    transcript = await phone.next(TranscriptCaller)
    assert transcript.at - ended_at >= 0.1


async def test_an_interruption_clears_the_reply_and_only_the_heard_words_are_remembered(exchange: Exchange) -> None:
    never = asyncio.Event()
    model = ScriptedModel(["We have risotto, pasta, pizza and soup. ", never, "And more."], ["Good bye."])
    phone = await exchange.dial(model)
    await phone.say("what do you have")
    piece = await phone.next(ReplyText)
    await phone.heard(piece.generation, "", "started")
    await phone.begin_to_say("no wait")
    clear = await phone.next(Control)
    assert (clear.action, clear.generation) == ("clear", piece.generation + 1)
    await asyncio.wait_for(model.cut_off.wait(), 5)
    await phone.heard(piece.generation, "We have risotto, ", "cleared")
    transcript = await phone.next(TranscriptAgent)
    assert (transcript.text, transcript.interrupted) == ("We have risotto, ", True)
    assert (transcript.turn_id, transcript.generation) == (1, piece.generation)
    await phone.finish_saying("no wait")
    end, pieces = await phone.reply()
    assert end.generation == clear.generation + 1
    assert texts(pieces) == ["Good bye."]
    assert model.last_asked == [
        ("user", "what do you have"),
        ("assistant", "We have risotto, —"),
        ("user", "no wait"),
    ]


async def test_the_caller_interrupts_the_greeting(exchange: Exchange) -> None:
    model = ScriptedModel(["Of course."])
    phone = await exchange.dial(model)
    await phone.start()
    greeting, _ = await phone.reply()
    await phone.heard(greeting.generation, "", "started")
    await phone.say("a table please")
    clear = await phone.next(Control)
    await phone.heard(greeting.generation, "Bella ", "cleared")
    assert (await phone.next(ReplyText)).generation == clear.generation + 1


async def test_an_interruption_before_any_audio_leaves_no_empty_message(exchange: Exchange) -> None:
    model = ScriptedModel([asyncio.Event()], ["For four, with pleasure."])
    phone = await exchange.dial(model)
    await phone.say("I want a table")
    await phone.next(TranscriptCaller)
    await phone.say("for four")
    clear = await phone.next(Control)
    await phone.heard(clear.generation - 1, "", "cleared")
    end, _ = await phone.reply()
    assert model.last_asked == [("user", "I want a table for four")]
    await phone.heard(end.generation, "For four, with pleasure.")
    assert (await phone.next(TranscriptAgent)).text == "For four, with pleasure."
    assert end.generation == 3


async def test_an_agent_that_cannot_be_interrupted_answers_afterwards(exchange: Exchange) -> None:
    turns = TurnProfile(endpointing_ms=100, barge_in=BargeInProfile(enabled=False))
    model = ScriptedModel(["Yes?"])
    phone = await exchange.dial(model, PROFILE.model_copy(update={"turns": turns}))
    await phone.start()
    greeting, _ = await phone.reply()
    await phone.heard(greeting.generation, "", "started")
    await phone.say("hello")
    await phone.heard(greeting.generation, "Bella Trattoria, good day! How can I help you?")
    assert (await phone.next(TranscriptAgent)).interrupted is False
    await phone.reply()
    assert model.last_asked == [
        ("assistant", "Bella Trattoria, good day! How can I help you?"),
        ("user", "hello"),
    ]
    assert exchange.sent("control") == 0


async def test_a_dialogue_that_cannot_be_loaded_is_not_begun_anew(exchange: Exchange) -> None:
    await (await exchange.bus.bucket(BUCKET, KEEP_S)).put("CA1", b"garbage")
    phone = Phone(exchange.bus)
    with pytest.raises(CannotServe, match="cannot be loaded"):
        await phone.open(ScriptedModel())
    await phone.call.close()


async def test_logs_hold_nothing_that_was_said_or_pressed(exchange: Exchange) -> None:
    model = ScriptedModel(["Your secret is safe."], [ProviderFailed("lost")], [ProviderFailed("lost")])
    with capture_logs() as logs:
        phone = await exchange.dial(model)
        for digit in "4711":
            await phone.press(digit)
        await phone.say("my secret number is seven")
        end, _ = await phone.reply()
        await phone.heard(end.generation, "Your secret is safe.")
        await phone.say("my secret again")
        await phone.reply()
    assert [entry["event"] for entry in logs].count("digit_pressed") == 4
    assert "secret" not in str(logs)
    assert "4711" not in str(logs)


async def test_closing_ends_the_stream_and_the_model(exchange: Exchange) -> None:
    model = ScriptedModel([asyncio.Event()])
    phone = await exchange.dial(model)
    await phone.say("hello")
    await phone.next(TranscriptCaller)
    await exchange.bus.settle()
    await phone.close()
    await asyncio.wait_for(model.cut_off.wait(), 5)
    assert model.closed


async def test_what_the_models_share_ends_with_the_worker() -> None:
    closed = asyncio.Event()

    async def open_model(profile: AgentProfile) -> tuple[str, ChatModel]:
        return "scripted", ScriptedModel()

    async def close_models() -> None:
        closed.set()

    stage = LlmStage(open_model, close_models)
    assert isinstance(stage, ClosingStage)
    await stage.close()
    assert closed.is_set()
