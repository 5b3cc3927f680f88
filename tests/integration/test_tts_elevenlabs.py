"""The ElevenLabs voice and its stand-in: refusals, lost sockets, and the vendor's SDK as the judge."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer, unused_port
from elevenlabs.client import AsyncElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.types import AudioOutputMulti, FinalOutputMulti
from pydantic import SecretStr

from services.tts.providers.elevenlabs import DEFAULT_VOICE, ElevenLabs
from shared.agents import TtsProfile
from shared.audio import duration_ms
from shared.settings import Settings
from shared.stage import CannotServe
from simulator.standins.behaviour import Behaviour
from simulator.standins.elevenlabs import add_routes
from simulator.standins.elevenlabs_speech import speak
from tests.integration.test_tts_contract import REPLY, Ear, say


class Vendor:
    """The stand-in on a port of its own."""

    def __init__(self, server: BaseTestServer, behaviour: Behaviour) -> None:
        self.server = server
        self.behaviour = behaviour
        self.url = str(server.make_url("")).rstrip("/")

    def provider(self, key: str = "stand-in") -> ElevenLabs:
        return ElevenLabs(Settings(elevenlabs_api_key=SecretStr(key), elevenlabs_base_url=self.url))

    def cut_the_line(self) -> None:
        """What a caller's network does: no goodbye."""
        assert self.server.runner is not None
        assert self.server.runner.server is not None
        for connection in self.server.runner.server.connections:
            assert connection.transport is not None
            connection.transport.abort()


@pytest_asyncio.fixture
async def vendor() -> AsyncIterator[Vendor]:
    behaviour, app = Behaviour(), web.Application()
    add_routes(app, behaviour)
    async with TestServer(app) as server:
        yield Vendor(server, behaviour)


@pytest.fixture
def ear() -> Ear:
    return Ear()


async def test_a_wrong_key_is_refused_with_the_variable_to_set_and_not_told(vendor: Vendor, ear: Ear) -> None:
    with pytest.raises(CannotServe, match="ELEVENLABS_API_KEY") as refusal:
        await vendor.provider("sk-secret").open_voice(TtsProfile(), ear.hear, ear.fail)
    assert "sk-secret" not in str(refusal.value)


async def test_a_model_without_a_socket_is_refused_with_the_field_to_set(vendor: Vendor, ear: Ear) -> None:
    with pytest.raises(CannotServe, match=r"eleven_v3.*tts\.model"):
        await vendor.provider().open_voice(TtsProfile(model="eleven_v3"), ear.hear, ear.fail)


async def test_an_address_where_nobody_answers_cannot_serve(ear: Ear) -> None:
    settings = Settings(elevenlabs_api_key=SecretStr("k"), elevenlabs_base_url=f"http://127.0.0.1:{unused_port()}")
    with pytest.raises(CannotServe, match="ELEVENLABS_BASE_URL"):
        await ElevenLabs(settings).open_voice(TtsProfile(), ear.hear, ear.fail)


async def test_a_vendor_that_hangs_cannot_serve_and_is_not_waited_for(ear: Ear) -> None:
    connected: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: connected.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    settings = Settings(elevenlabs_api_key=SecretStr("k"), elevenlabs_base_url=url, provider_connect_s=0.1)
    with pytest.raises(CannotServe, match="cannot be reached"):
        async with asyncio.timeout(2):
            await ElevenLabs(settings).open_voice(TtsProfile(), ear.hear, ear.fail)
    for writer in connected:
        writer.close()
    server.close()
    await server.wait_closed()


async def test_a_key_that_may_speak_but_not_read_voices_serves(ear: Ear) -> None:
    async def forbidden(request: web.Request) -> web.Response:
        detail = {"status": "missing_permissions", "message": "The API key is missing the permission voices_read"}
        return web.json_response({"detail": detail}, status=401)

    app = web.Application()
    app.router.add_get("/v1/voices/{voice_id}", forbidden)
    add_routes(app, Behaviour())
    async with TestServer(app) as server:
        voice = await Vendor(server, Behaviour()).provider().open_voice(TtsProfile(), ear.hear, ear.fail)
        await say(voice, 1, REPLY)
        assert "".join(piece.text for piece in await ear.reply(1)) == REPLY
        await voice.close()


async def test_a_socket_lost_in_mid_reply_fails_once(vendor: Vendor, ear: Ear) -> None:
    vendor.behaviour.tts_first_audio_ms = 60_000
    voice = await vendor.provider().open_voice(TtsProfile(), ear.hear, ear.fail)
    await voice.speak(1, REPLY)
    vendor.cut_the_line()
    await ear.until(lambda: bool(ear.failures))
    await say(voice, 1, REPLY)
    await voice.cancel(2)
    await say(voice, 2, REPLY)
    await voice.close()
    assert len(ear.failures) == 1
    assert ear.pieces == []


async def test_a_socket_lost_in_a_silence_is_not_noticed_by_the_caller(vendor: Vendor, ear: Ear) -> None:
    voice = await vendor.provider().open_voice(TtsProfile(), ear.hear, ear.fail)
    await say(voice, 1, REPLY)
    await ear.reply(1)
    vendor.cut_the_line()
    async with asyncio.timeout(5):
        while voice._socket is not None and not voice._socket.closed:
            await asyncio.sleep(0)
    await say(voice, 2, REPLY)
    assert "".join(piece.text for piece in await ear.reply(2)) == REPLY
    assert ear.failures == []
    await voice.close()


async def test_a_new_reply_does_not_wait_for_contexts_that_are_slow_to_end(vendor: Vendor, ear: Ear) -> None:
    vendor.behaviour.tts_first_audio_ms = 60_000
    voice = await vendor.provider().open_voice(TtsProfile(), ear.hear, ear.fail)
    for generation in range(1, 7):
        await say(voice, generation, "Too late. ")
        await voice.cancel(generation + 1)
    vendor.behaviour.tts_first_audio_ms = 0
    await say(voice, 7, REPLY)
    assert "".join(piece.text for piece in await ear.reply(7)) == REPLY
    assert ear.failures == []
    await voice.close()


async def test_the_sdk_streams_from_the_stand_in(vendor: Vendor) -> None:
    async with httpx.AsyncClient() as client:
        sdk = AsyncElevenLabs(api_key="stand-in", base_url=vendor.url, httpx_client=client)
        stream = sdk.text_to_speech.stream(
            DEFAULT_VOICE, text=REPLY, model_id="eleven_flash_v2_5", output_format="ulaw_8000"
        )
        audio = b"".join([chunk async for chunk in stream])
    assert duration_ms(audio) == pytest.approx(duration_ms(speak(REPLY, DEFAULT_VOICE).mulaw), abs=60)


@pytest.mark.parametrize(
    ("key", "voice", "status", "code"),
    [("wrong", DEFAULT_VOICE, 401, "invalid_api_key"), ("stand-in", "nobody", 404, "voice_not_found")],
)
async def test_the_sdk_reads_the_stand_ins_refusals(
    vendor: Vendor, key: str, voice: str, status: int, code: str
) -> None:
    async with httpx.AsyncClient() as client:
        sdk = AsyncElevenLabs(api_key=key, base_url=vendor.url, httpx_client=client)
        with pytest.raises(ApiError) as refusal:
            await sdk.voices.get(voice)
    assert refusal.value.status_code == status
    assert refusal.value.body["detail"]["code"] == code


class RawSocket:
    """A client that may do what ours never does."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, **message: Any) -> None:
        await self.socket.send_json(message)

    async def receive(self) -> dict[str, Any]:
        decoded: dict[str, Any] = await self.socket.receive_json(timeout=5)
        return decoded

    async def refusal(self) -> str:
        """The vendor's error; the socket closes with 1008 after it."""
        while "error" not in (frame := await self.receive()):
            pass
        assert frame["code"] == 1008
        assert (await self.socket.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
        assert self.socket.close_code == 1008
        return str(frame["error"])


@pytest_asyncio.fixture
async def raw(vendor: Vendor, request: pytest.FixtureRequest) -> AsyncIterator[RawSocket]:
    """A socket; an indirect parameter overrides key, voice and query."""
    given = getattr(request, "param", {})
    query = {"model_id": "eleven_flash_v2_5", "output_format": "ulaw_8000", "sync_alignment": "true"}
    path = f"{vendor.url}/v1/text-to-speech/{given.get('voice', DEFAULT_VOICE)}/multi-stream-input"
    headers = {"xi-api-key": given.get("key", "stand-in")}
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(path, params=query | given.get("query", {}), headers=headers) as socket,
    ):
        yield RawSocket(socket)


async def test_the_stand_in_speaks_in_the_sdks_types(raw: RawSocket) -> None:
    await raw.send(text="Hello there. ", context_id="1")
    await raw.send(context_id="1", flush=True)
    await raw.send(context_id="1", close_context=True)
    said = ""
    while not (frame := await raw.receive()).get("isFinal"):
        chunk = AudioOutputMulti.model_validate(frame)
        assert chunk.context_id == "1"
        assert chunk.alignment is not None
        said += "".join(chunk.alignment.chars or [])
    assert FinalOutputMulti.model_validate(frame).context_id == "1"
    assert said == "Hello there. "


async def test_the_stand_in_says_no_final_for_a_flush_alone(raw: RawSocket) -> None:
    await raw.send(text="Hello. ", context_id="1", flush=True)
    await raw.send(text="Other. ", context_id="2", flush=True)
    await raw.send(context_id="2", close_context=True)
    finals: set[str] = set()
    while not finals:
        frame = await raw.receive()
        finals |= {frame["contextId"]} if frame.get("isFinal") else set()
    assert finals == {"2"}


async def test_the_stand_in_waits_for_more_text_without_auto_mode(raw: RawSocket) -> None:
    await raw.send(text="Hello. ", context_id="1")
    await raw.send(context_id="1", close_context=True)
    assert await raw.receive() == {"isFinal": True, "contextId": "1"}


async def test_the_stand_in_refuses_a_sixth_context_even_an_empty_one(raw: RawSocket) -> None:
    for context in range(6):
        await raw.send(context_id=str(context), flush=True)
    assert await raw.refusal() == "max_active_conversations"


@pytest.mark.parametrize("raw", [{"query": {"inactivity_timeout": "0"}}], indirect=True)
async def test_the_stand_in_closes_an_idle_socket(raw: RawSocket) -> None:
    assert await raw.refusal() == "input_timeout_exceeded"


async def test_the_stand_in_refuses_voice_settings_that_change(raw: RawSocket) -> None:
    await raw.send(text=" ", context_id="1")
    await raw.send(text="Hi. ", context_id="1", voice_settings={"speed": 1.1})
    assert await raw.refusal() == "invalid_voice_settings"


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        ({"key": "wrong"}, "invalid_api_key"),
        ({"voice": "nobody"}, "voice_id_does_not_exist"),
        ({"query": {"output_format": "mp3_44100_128"}}, "output_format_not_allowed"),
    ],
    indirect=["raw"],
)
async def test_the_stand_in_refuses_at_the_first_text(raw: RawSocket, error: str) -> None:
    await raw.send(text=" ", context_id="1")
    await raw.send(text="Hi. ", context_id="1")
    assert await raw.refusal() == error


async def test_the_stand_in_refuses_what_is_no_json(raw: RawSocket) -> None:
    await raw.socket.send_str("hello")
    assert await raw.refusal() == "invalid_input_message"


async def test_the_stand_in_speaks_what_was_flushed_before_it_closes(raw: RawSocket) -> None:
    await raw.send(text="Hello. ", context_id="1", flush=True)
    await raw.send(close_socket=True)
    assert "audio" in await raw.receive()
    while not (await raw.receive()).get("isFinal"):
        pass
    assert (await raw.socket.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
