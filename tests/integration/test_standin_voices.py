"""Who speaks at the ElevenLabs stand-in."""

import asyncio
import base64

import pytest
from aiohttp import ClientSession

from services.tts.providers.elevenlabs import DEFAULT_VOICE
from shared import espeak
from simulator import telegraph
from simulator.standins.behaviour import Behaviour
from simulator.standins.server import Standins

TEXT = "Order four two zero five has left our kitchen."
KEY = {"xi-api-key": "stand-in"}


async def by_socket(http: ClientSession, url: str) -> bytes:
    """The audio of TEXT over a multi-context socket."""
    query = {"output_format": "ulaw_8000", "auto_mode": "true", "sync_alignment": "true"}
    audio, chars = b"", ""
    path = f"{url}/v1/text-to-speech/{DEFAULT_VOICE}/multi-stream-input"
    async with asyncio.timeout(5), http.ws_connect(path, params=query, headers=KEY) as socket:
        await socket.send_json({"text": TEXT, "context_id": "1", "flush": True})
        await socket.send_json({"context_id": "1", "close_context": True})
        while not (message := await socket.receive_json())["isFinal"]:
            audio += base64.b64decode(message["audio"])
            chars += "".join(message["alignment"]["chars"])
    assert chars == TEXT
    return audio


async def by_request(http: ClientSession, url: str) -> bytes:
    """The audio of TEXT over HTTP."""
    path = f"{url}/v1/text-to-speech/{DEFAULT_VOICE}/stream?output_format=ulaw_8000"
    async with http.post(path, json={"text": TEXT}, headers=KEY) as response:
        return await response.read()


@pytest.mark.parametrize("audio_of", [by_socket, by_request])
async def test_telegrams_can_be_read(audio_of, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    async with Standins(Behaviour(tts_voice="telegraph")) as standins, ClientSession() as http:
        monkeypatch.setattr(espeak, "speak", None)
        audio = await audio_of(http, standins.url)
    assert [telegram.text for telegram in telegraph.read(audio)] == TEXT.split()


async def test_speech_is_no_telegram() -> None:
    async with Standins() as standins, ClientSession() as http:
        audio = await by_socket(http, standins.url)
    assert len(audio) > 8000
    assert telegraph.read(audio) == []
