"""Calls that are taken over: how far they are, and what tts was sent."""

import asyncio

from shared.messages import (
    ReplyEnd,
    ReplyText,
)
from shared.turn_taking import TurnProfile
from tests.llm_model import ScriptedModel
from tests.llm_phone import PROFILE, Exchange, Phone

GREETING = "Bella Trattoria, good day! How can I help you?"
HOURS = ["We are open from noon, ", "until eleven. ", "Every day."]


async def greeted(exchange: Exchange, *scripts: list[object], turns: TurnProfile | None = None) -> Phone:
    """A call whose greeting was heard."""
    profile = PROFILE if turns is None else PROFILE.model_copy(update={"turns": turns})
    phone = await exchange.dial(ScriptedModel(*scripts), profile)  # type: ignore[arg-type]
    await phone.start()
    greeting, _ = await phone.reply()
    await phone.heard(greeting.generation, GREETING)
    return phone


async def in_mid_reply(exchange: Exchange) -> tuple[Phone, ReplyText]:
    """A call in which a reply has two pieces as yet; the second one."""
    phone = await greeted(exchange, [*HOURS[:2], "Every", asyncio.Event()])
    await phone.say("what are your hours")
    await phone.next(ReplyText)
    return phone, await phone.next(ReplyText)


async def unread(phone: Phone) -> list[ReplyText | ReplyEnd]:
    """What was sent to tts since the last look, when the newest reply has come to its end."""
    end = await phone.next(ReplyEnd)
    pieces = [message for message in phone._unread if isinstance(message, ReplyText)]
    phone._unread = [message for message in phone._unread if message not in pieces]
    return [*pieces, end]


async def sent_to_tts(exchange: Exchange) -> list[ReplyText]:
    await exchange.bus.settle()
    suffix = ".reply.text"
    return [ReplyText.model_validate_json(body) for subject, body in exchange.bus.published if subject.endswith(suffix)]
