"""What turn-taking makes of a dialogue: pauses, speculation, reprompts, keys, the end. Over the bus in memory."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest_asyncio
from structlog.testing import capture_logs

from services.llm.provider import EndCall
from shared.channel import CallChannel
from shared.messages import (
    Control,
    ReplyEnd,
    SpeechFinal,
    SpeechStarted,
    SpeechStopped,
    SpeechSustained,
    TranscriptCaller,
    TurnsChanged,
)
from shared.turn_taking import DigitsProfile, SilenceProfile, TurnProfile
from tests.llm_model import ScriptedModel
from tests.llm_phone import PROFILE, Exchange, Phone, exchange_open, texts


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[Exchange]:
    async with exchange_open() as opened:
        yield opened


def stt(exchange: Exchange) -> CallChannel:
    return CallChannel(exchange.bus, "CA1", "stt", 1)


async def greeted(exchange: Exchange, model: ScriptedModel, turns: TurnProfile | None = None) -> tuple[Phone, int]:
    """A call whose greeting is to be heard; its generation."""
    profile = PROFILE if turns is None else PROFILE.model_copy(update={"turns": turns})
    phone = await exchange.dial(model, profile)
    await phone.start()
    greeting, _ = await phone.reply()
    await phone.heard(greeting.generation, "", "started")
    return phone, greeting.generation


async def test_a_cough_pauses_the_reply_and_it_goes_on(exchange: Exchange) -> None:
    phone, generation = await greeted(exchange, ScriptedModel())
    caller = stt(exchange)
    await caller.send(SpeechStarted(utterance=1, t_ms=0))
    await caller.send(SpeechSustained(utterance=1, t_ms=250, speech_ms=250, reached_at=time.time()))
    pause = await phone.next(Control)
    assert (pause.action, pause.generation) == ("pause", generation)
    await caller.send(SpeechStopped(utterance=1, t_ms=300, ended_at=time.time()))
    await caller.send(SpeechFinal(utterance=1, text="", complete=True))
    resume = await phone.next(Control)
    assert (resume.action, resume.generation) == ("resume", generation)
    await phone.heard(generation, "Bella Trattoria, good day! How can I help you?")
    assert exchange.sent("transcript.caller") == 0


async def test_thresholds_change_by_a_message(exchange: Exchange) -> None:
    phone, generation = await greeted(exchange, ScriptedModel(["Yes?"]))
    operator = CallChannel(exchange.bus, "CA1", "", 0)
    with capture_logs() as logs:
        await operator.send(TurnsChanged(turns={"barge_in": {"min_words": 0}}))
        await operator.send(TurnsChanged(turns={"barge_in": {"min_words": 3}}))
        await exchange.bus.settle()
    assert [entry["event"] for entry in logs] == ["turns_not_changed"]
    await phone.begin_to_say("where are")
    assert exchange.sent("control") == 0
    await phone.begin_to_say("where are you")
    assert (await phone.next(Control)).generation == generation + 1


async def test_a_reply_is_prepared_before_the_turn_is_over_and_nobody_hears_it(exchange: Exchange) -> None:
    asked = asyncio.Event()
    model = ScriptedModel([asked.set, "With pleasure."])
    phone = await exchange.dial(model, PROFILE.model_copy(update={"turns": TurnProfile(endpointing_ms=300)}))
    caller = stt(exchange)
    await caller.send(SpeechStarted(utterance=1, t_ms=0))
    await caller.send(SpeechFinal(utterance=1, text="a table", complete=True))
    await caller.send(SpeechStopped(utterance=1, t_ms=0, ended_at=time.time()))
    await asyncio.wait_for(asked.wait(), 5)
    assert (exchange.sent("reply.text"), exchange.sent("transcript.caller")) == (0, 0)
    assert phone.session is not None
    assert not phone.session._memory.record.messages
    end, pieces = await phone.reply()
    assert texts(pieces) == ["With pleasure."]
    assert (end.turn_id, len(model.asked)) == (1, 1)


async def test_a_prepared_reply_to_another_text_is_dropped(exchange: Exchange) -> None:
    asked, never = asyncio.Event(), asyncio.Event()
    model = ScriptedModel([asked.set, "Wrong. ", never], ["For four, with pleasure."])
    phone = await exchange.dial(model, PROFILE.model_copy(update={"turns": TurnProfile(endpointing_ms=300)}))
    caller = stt(exchange)
    await caller.send(SpeechStarted(utterance=1, t_ms=0))
    await caller.send(SpeechFinal(utterance=1, text="a table", complete=True))
    await caller.send(SpeechStopped(utterance=1, t_ms=0, ended_at=time.time()))
    await asyncio.wait_for(asked.wait(), 5)
    await caller.send(SpeechStarted(utterance=2, t_ms=0))
    await caller.send(SpeechStopped(utterance=2, t_ms=0, ended_at=time.time()))
    await caller.send(SpeechFinal(utterance=2, text="for four", complete=True))
    _, pieces = await phone.reply()
    assert texts(pieces) == ["For four, with pleasure."]
    assert model.cut_off.is_set()
    assert model.last_asked == [("user", "a table for four")]
    assert exchange.sent("reply.text") == 1, "nothing of the dropped reply was said"


async def test_a_silent_caller_is_asked_and_then_left(exchange: Exchange) -> None:
    silence = SilenceProfile(reprompt_s=0.05, reprompts=("Hello?",), goodbye="Bye!")
    phone, generation = await greeted(exchange, ScriptedModel(), TurnProfile(silence=silence))
    await phone.heard(generation, "Bella Trattoria, good day! How can I help you?")
    end, pieces = await phone.reply()
    assert texts(pieces) == ["Hello?"]
    await phone.heard(end.generation, "Hello?")
    end, pieces = await phone.reply()
    assert texts(pieces) == ["Bye!"]
    hangup = await phone.next(Control)
    assert (hangup.action, hangup.generation) == ("hangup", end.generation)


async def test_the_model_ends_the_call_with_its_reply(exchange: Exchange) -> None:
    model = ScriptedModel(["Goodbye!", EndCall()])
    phone = await exchange.dial(model)
    await phone.say("that is all thank you")
    end, _ = await phone.reply()
    hangup = await phone.next(Control)
    assert (hangup.action, hangup.generation) == ("hangup", end.generation)


async def test_pressed_keys_are_a_turn(exchange: Exchange) -> None:
    model = ScriptedModel(["Thank you."], ["Again."])
    turns = TurnProfile(digits=DigitsProfile(timeout_ms=200))
    phone, generation = await greeted(exchange, model, turns)
    for key in "12#":
        await phone.press(key)
    assert (await phone.next(Control)).generation == generation + 1
    assert (await phone.next(TranscriptCaller)).text == "keys 1 2"
    await phone.next(ReplyEnd)
    await phone.press("9")
    assert (await phone.next(TranscriptCaller)).text == "keys 9"


async def test_on_voicemail_the_agent_hangs_up_at_once(exchange: Exchange) -> None:
    phone = await exchange.dial(ScriptedModel())
    await phone.say("please leave a message after the tone")
    hangup = await phone.next(Control)
    assert (hangup.action, hangup.generation) == ("hangup", 0)
    assert exchange.sent("transcript.caller") == 0
