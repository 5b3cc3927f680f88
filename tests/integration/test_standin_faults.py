"""How the stand-ins with sockets fail, seen by clients that notice everything."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from shared.audio import SILENCE, bytes_of
from simulator.ear import PhraseBook
from simulator.standins import deepgram, elevenlabs
from simulator.standins.behaviour import Behaviour, Fault

NOVA = "/v1/listen?model=nova-3&encoding=mulaw&sample_rate=8000"
FLUX = "/v2/listen?model=flux-general-en&encoding=mulaw&sample_rate=8000"
VOICE = "/v1/text-to-speech/EXAVITQu4vr4xnSDxMaL/multi-stream-input?model_id=m&output_format=ulaw_8000&auto_mode=true"
VOICES = "/v1/voices/EXAVITQu4vr4xnSDxMaL"
HEADERS = {"Authorization": "Token stand-in", "xi-api-key": "stand-in"}

Client = TestClient[web.Request, web.Application]


@pytest.fixture
def behaviour() -> Behaviour:
    return Behaviour()


@pytest_asyncio.fixture
async def client(behaviour: Behaviour) -> AsyncIterator[Client]:
    app = web.Application()
    deepgram.add_routes(app, behaviour, PhraseBook())
    elevenlabs.add_routes(app, behaviour)
    async with TestClient(TestServer(app), headers=HEADERS) as opened:
        yield opened


def strike(behaviour: Behaviour, fault: Fault) -> None:
    behaviour.stt_fault = behaviour.tts_fault = fault


async def provoke(socket: aiohttp.ClientWebSocketResponse, path: str) -> None:
    """Give the vendor something to do."""
    if path == VOICE:
        await socket.send_json({"context_id": "1", "text": "Hello there. "})
    else:
        await socket.send_bytes(SILENCE * bytes_of(400))


@pytest.mark.parametrize("path", [NOVA, FLUX, VOICE, VOICES])
@pytest.mark.parametrize("status", [429, 500])
async def test_a_request_is_refused_with_the_status_and_a_body(
    client: Client, behaviour: Behaviour, path: str, status: int
) -> None:
    strike(behaviour, "429" if status == 429 else "500")
    async with client.get(path) as response:
        assert response.status == status
        assert {"detail", "err_code"} & set(await response.json())


@pytest.mark.parametrize("path", [NOVA, FLUX, VOICE, VOICES])
async def test_a_request_is_dropped_or_hangs(client: Client, behaviour: Behaviour, path: str) -> None:
    strike(behaviour, "drop")
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.get(path)
    strike(behaviour, "hang")
    with pytest.raises(TimeoutError):
        await client.get(path, timeout=aiohttp.ClientTimeout(total=0.1))


@pytest.mark.parametrize("path", [NOVA, FLUX, VOICE])
@pytest.mark.parametrize(("fault", "codes"), [("429", {1000, 1008}), ("500", {1000, 1011}), ("drop", {1006})])
async def test_an_open_socket_is_closed_at_the_next_thing_it_should_do(
    client: Client, behaviour: Behaviour, path: str, fault: Fault, codes: set[int]
) -> None:
    async with client.ws_connect(path) as socket:
        strike(behaviour, fault)
        await provoke(socket, path)
        async with asyncio.timeout(5):
            received = [message async for message in socket]
        assert socket.close_code in codes
        said = [message.json() for message in received if message.type is aiohttp.WSMsgType.TEXT]
        if fault == "drop" or path == NOVA:
            assert not [message for message in said if message.get("type") != "Connected"]
        else:
            assert said[-1].get("error") or said[-1]["type"] == "Error"


@pytest.mark.parametrize("path", [NOVA, FLUX, VOICE])
async def test_an_open_socket_that_hangs_never_speaks_again(client: Client, behaviour: Behaviour, path: str) -> None:
    async with client.ws_connect(path, timeout=aiohttp.ClientWSTimeout(ws_close=0.1)) as socket:
        if path == FLUX:
            assert (await socket.receive_json())["type"] == "Connected"
        strike(behaviour, "hang")
        await provoke(socket, path)
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=0.1)
        strike(behaviour, "")


@pytest.mark.parametrize("path", [FLUX, VOICE])
async def test_garbage_takes_the_place_of_every_message(client: Client, behaviour: Behaviour, path: str) -> None:
    async with client.ws_connect(path) as socket:
        if path == FLUX:
            assert (await socket.receive_json())["type"] == "Connected"
        strike(behaviour, "garbage")
        await provoke(socket, path)
        with pytest.raises(ValueError, match="Expecting property name"):
            await socket.receive_json(timeout=5)
        strike(behaviour, "")
