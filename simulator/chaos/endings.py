"""The ways in which calls end: each function places one short call that ends so."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urljoin

import aiohttp

from shared.audio import FRAME_BYTES, FRAME_MS
from simulator import line as media
from simulator.caller import Caller, Patience, Voice
from simulator.carrier import Carrier, Gateway
from simulator.line import Line
from simulator.phone import CallOver, Phone
from simulator.playback import Playback
from simulator.twiml import Stream, parse

_QUESTION = "what are your opening hours"
_GOODBYE = "thank you goodbye"
_ENDS_WITHIN_S = 30.0


class NotEnded(Exception):
    """A call did not end as it should have; the message says how."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """How calls are placed."""

    http: aiohttp.ClientSession
    gateway: Gateway
    dialled: str
    dialled_brief: str
    """An agent whose calls may last a few seconds only."""
    caller: str


Ending = Callable[[Exchange], Awaitable[str]]
"""Places a call, sees it end, and returns its id. Raises NotEnded, WebhookFailed or aiohttp.ClientError."""


def _phone(exchange: Exchange, dialled: str = "") -> Phone:
    return Phone(exchange.http, exchange.gateway, dialled or exchange.dialled, exchange.caller)


async def _dialled(phone: Phone) -> None:
    try:
        await phone.dial()
    except CallOver as over:
        raise NotEnded(f"the call did not come about: {over}") from over


async def _until_over(phone: Phone) -> None:
    deadline = time.monotonic() + _ENDS_WITHIN_S
    while not phone.over:
        if time.monotonic() > deadline:
            await phone.hang_up()
            raise NotEnded(f"the agent did not hang up within {_ENDS_WITHIN_S:g} s")
        await phone.changed(1.0)


async def hangs_up(exchange: Exchange) -> str:
    """The caller hears the greeting begin and hangs up."""
    phone = _phone(exchange)
    await _dialled(phone)
    await Caller(phone).wait_playing(200, 3.0)
    await phone.hang_up()
    return phone.id


async def hangs_up_in_the_answer(exchange: Exchange) -> str:
    """The caller asks, and hangs up in the middle of the answer."""
    phone = _phone(exchange)
    await _dialled(phone)
    caller = Caller(phone, Patience())
    with contextlib.suppress(CallOver):
        await caller.hear_greeting()
        spoken = await phone.speak(Voice().render(_QUESTION))
        await caller.wait_for_reply(spoken.ended, 5.0)
        await phone.hang_up()
    return phone.id


async def agent_hangs_up(exchange: Exchange) -> str:
    """The caller says goodbye, the agent hangs up."""
    phone = _phone(exchange)
    await _dialled(phone)
    with contextlib.suppress(CallOver):
        await Caller(phone, Patience()).hear_greeting()
        await phone.speak(Voice().render(_GOODBYE))
    await _until_over(phone)
    return phone.id


async def lasts_too_long(exchange: Exchange) -> str:
    """The agent's `max_call_s` is over."""
    phone = _phone(exchange, exchange.dialled_brief)
    await _dialled(phone)
    await _until_over(phone)
    return phone.id


async def never_connects(exchange: Exchange) -> str:
    """The carrier asks the webhook and is never heard of again."""
    phone = _phone(exchange)
    carrier = Carrier(exchange.http, exchange.gateway, phone.id, exchange.caller, exchange.dialled)
    await carrier.voice("ringing")
    return phone.id


@asynccontextmanager
async def _talking(exchange: Exchange, call_id: str) -> AsyncIterator[Line]:
    """The call's media stream after a word or two; whoever holds it ends it."""
    carrier = Carrier(exchange.http, exchange.gateway, call_id, exchange.caller, exchange.dialled)
    answer = await carrier.voice("ringing")
    stream = next((verb for verb in parse(answer.body) if isinstance(verb, Stream)), None)
    if stream is None:
        raise NotEnded(f"no media stream was offered: {answer.body}")
    url = urljoin(answer.url, stream.url)
    sids = (exchange.gateway.account_sid, call_id)
    line = await media.connect(url, carrier.signature(url), sids, stream.parameters)
    playback = Playback(time.monotonic())
    hearing = asyncio.create_task(line.receive(playback, time.monotonic, lambda: None))
    try:
        said = Voice().render(_QUESTION)
        for at in range(0, len(said) // 2, FRAME_BYTES):
            line.send_frame(said[at : at + FRAME_BYTES])
            await asyncio.sleep(FRAME_MS / 1000)
        yield line
    finally:
        hearing.cancel()
        await asyncio.wait((hearing,))


async def drops(exchange: Exchange) -> str:
    """The carrier closes the socket without a word, in the middle of the caller's sentence, and never asks again."""
    call_id = _phone(exchange).id
    async with _talking(exchange, call_id) as line:
        await line.close()
    return call_id


async def crashes(exchange: Exchange) -> str:
    """The carrier's machine is gone: the connection is reset."""
    call_id = _phone(exchange).id
    async with _talking(exchange, call_id) as line:
        line.abort()
    return call_id


ENDINGS: Mapping[str, Ending] = {
    "hang-up": hangs_up,
    "hang-up in the answer": hangs_up_in_the_answer,
    "agent's hang-up": agent_hangs_up,
    "time-out": lasts_too_long,
    "never connected": never_connects,
    "drop": drops,
    "crash": crashes,
}
