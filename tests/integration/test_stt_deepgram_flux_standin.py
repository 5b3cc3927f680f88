"""The Flux stand-in, judged by the vendor's SDK."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from deepgram.listen.v2.types.listen_v2connected import ListenV2Connected
from pydantic import BaseModel

from services.stt.providers.deepgram_sdk import AsyncDeepgramClient, DeepgramClientEnvironment, ListenV2TurnInfo
from tests.integration.deepgram_vendor import BOOKING, THANKS, Vendor, audio, silence

MODELS: dict[str, type[BaseModel]] = {"Connected": ListenV2Connected, "TurnInfo": ListenV2TurnInfo}
RIGHT = {"model": "flux-general-en", "encoding": "mulaw", "sample_rate": "8000"}


@pytest_asyncio.fixture
async def vendor() -> AsyncIterator[Vendor]:
    async with Vendor() as standing_in:
        yield standing_in


async def transcribe(vendor: Vendor, mulaw: bytes, **options: Any) -> list[Any]:
    """Everything that comes for a stream of `mulaw`, through the SDK."""
    http = str(vendor.server.make_url("")).rstrip("/")
    socket = http.replace("http", "ws")
    environment = DeepgramClientEnvironment(base=http, production=socket, agent=socket, agent_rest=http)
    client = AsyncDeepgramClient(api_key="stand-in", environment=environment)
    asked = {"model": "flux-general-en", "encoding": "mulaw", "sample_rate": 8000, **options}
    async with asyncio.timeout(10), client.listen.v2.connect(**asked) as stream:
        for at in range(0, len(mulaw), 640):
            await stream.send_media(mulaw[at : at + 640])
        await stream.send_close_stream()
        return [message async for message in stream]


async def test_every_message_is_one_of_the_vendors(vendor: Vendor) -> None:
    speech = audio(BOOKING) + silence(600) + audio(THANKS) + silence(600)
    messages = await transcribe(vendor, speech, eager_eot_threshold=0.5, eot_threshold=0.7)
    for message in messages:
        strict = MODELS[message.type].model_validate(message.model_dump())
        assert not strict.model_extra
        assert type(message) is MODELS[message.type]
    assert [message.sequence_id for message in messages] == list(range(len(messages)))
    assert [message.type for message in messages[:2]] == ["Connected", "TurnInfo"]
    turns = [message for message in messages if message.type == "TurnInfo"]
    assert [turn.event for turn in turns if turn.event != "Update"] == [
        *("StartOfTurn", "EagerEndOfTurn", "EndOfTurn") * 2
    ]
    assert [turn.transcript for turn in turns if turn.event == "EndOfTurn"] == [BOOKING, THANKS]
    for before, after in pairwise(turns):
        assert after.turn_index == before.turn_index + (before.event == "EndOfTurn")
        assert after.audio_window_end >= before.audio_window_end
    for turn in turns:
        assert (turn.trigger is not None) == (turn.event == "EndOfTurn")
        assert (turn.end_of_turn_confidence >= 0.5) == (turn.event in ("EagerEndOfTurn", "EndOfTurn"))
        assert turn.transcript == " ".join(word.word for word in turn.words)


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ({"encoding": "opus"}, "encoding"),
        ({"model": "nova-3"}, "model"),
        ({"eot_threshold": "0.4"}, "eot_threshold"),
        ({"eager_eot_threshold": "0.95"}, "eager_eot_threshold"),
        ({"eager_eot_threshold": "0.8", "eot_threshold": "0.7"}, "eager_eot_threshold"),
        ({"eot_timeout_ms": "499"}, "eot_timeout_ms"),
        ({"language_hint": "es"}, "language_hint"),
    ],
)
async def test_a_wrong_parameter_is_refused_as_the_vendor_does(
    vendor: Vendor, query: dict[str, str], complaint: str
) -> None:
    headers = {"Authorization": "Token stand-in"}
    url = vendor.server.make_url("/v2/listen")
    async with aiohttp.ClientSession() as http, http.get(url, params={**RIGHT, **query}, headers=headers) as answer:
        assert answer.status == 400
        assert complaint in (await answer.json())["err_msg"]


async def test_a_wrong_key_is_refused_as_the_vendor_does(vendor: Vendor) -> None:
    url = vendor.server.make_url("/v2/listen")
    headers = {"Authorization": "Token wrong"}
    async with aiohttp.ClientSession() as http, http.get(url, params=RIGHT, headers=headers) as answer:
        assert answer.status == 401


async def test_a_text_message_that_means_nothing_is_fatal(vendor: Vendor) -> None:
    async with (
        aiohttp.ClientSession(headers={"Authorization": "Token stand-in"}) as http,
        http.ws_connect(vendor.server.make_url("/v2/listen"), params=RIGHT) as socket,
    ):
        assert (await socket.receive_json(timeout=5))["type"] == "Connected"
        await socket.send_str('{"type": "KeepAlive"}')
        error = await socket.receive_json(timeout=5)
        assert set(error) == {"type", "sequence_id", "code", "description"}
        assert error["type"] == "Error"
        assert (await socket.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE


async def test_the_end_of_a_turn_comes_as_late_as_it_is_told_to(vendor: Vendor) -> None:
    vendor.behaviour.stt_final_ms = 300
    loop = asyncio.get_running_loop()
    began = loop.time()
    await transcribe(vendor, audio(BOOKING) + silence(500))
    assert loop.time() - began >= 0.3
