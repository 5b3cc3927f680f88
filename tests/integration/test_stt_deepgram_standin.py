"""The Deepgram stand-in, judged by the vendor's SDK."""

import asyncio
import base64
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer
from deepgram.listen.v1.types.listen_v1metadata import ListenV1Metadata
from deepgram.listen.v1.types.listen_v1speech_started import ListenV1SpeechStarted
from deepgram.listen.v1.types.listen_v1utterance_end import ListenV1UtteranceEnd
from pydantic import BaseModel

from services.stt.providers.deepgram_sdk import AsyncDeepgramClient, DeepgramClientEnvironment, ListenV1Results
from tests.integration.deepgram_vendor import BOOKING, Vendor, audio, silence

MODELS: dict[str, type[BaseModel]] = {
    "Results": ListenV1Results,
    "Metadata": ListenV1Metadata,
    "SpeechStarted": ListenV1SpeechStarted,
    "UtteranceEnd": ListenV1UtteranceEnd,
}


@pytest_asyncio.fixture
async def server() -> AsyncIterator[TestServer]:
    async with Vendor() as vendor:
        yield vendor.server


async def transcribe(server: TestServer, mulaw: bytes, **options: Any) -> list[Any]:
    """Everything that comes for a stream of `mulaw`, through the SDK."""
    http = str(server.make_url("")).rstrip("/")
    socket = http.replace("http", "ws")
    environment = DeepgramClientEnvironment(base=http, production=socket, agent=socket, agent_rest=http)
    client = AsyncDeepgramClient(api_key="stand-in", environment=environment)
    asked = {"model": "nova-3", "encoding": "mulaw", "sample_rate": 8000, **options}
    async with asyncio.timeout(10), client.listen.v1.connect(**asked) as stream:
        for at in range(0, len(mulaw), 160):
            await stream.send_media(mulaw[at : at + 160])
        await stream.send_close_stream()
        return [message async for message in stream]


async def test_every_message_is_one_of_the_vendors(server: TestServer) -> None:
    said = audio(BOOKING) + silence(1500)
    messages = await transcribe(
        server,
        said,
        interim_results=True,
        endpointing=300,
        utterance_end_ms=1000,
        vad_events=True,
        smart_format=True,
    )
    for message in messages:
        strict = MODELS[message.type].model_validate(message.model_dump())
        assert not strict.model_extra
        assert type(message) is MODELS[message.type]
    kinds = [message.type for message in messages]
    assert kinds[0] == "SpeechStarted"
    assert kinds[-1] == "Metadata"
    assert kinds.count("UtteranceEnd") == 1
    final = next(message for message in messages if message.type == "Results" and message.speech_final)
    assert final.channel.alternatives[0].transcript == BOOKING
    assert abs(messages[-1].duration - len(said) / 8000) < 0.001


async def test_the_end_of_an_utterance_is_told_with_its_last_word_and_not_without_words(server: TestServer) -> None:
    options = {"interim_results": True, "endpointing": 300, "utterance_end_ms": 1000}
    messages = await transcribe(server, audio(BOOKING) + silence(1500), **options)
    words = next(message for message in messages if message.type == "Results" and message.is_final)
    (end,) = [message for message in messages if message.type == "UtteranceEnd"]
    assert end.last_word_end == words.channel.alternatives[0].words[-1].end
    unknown = audio("seven green bottles are hanging on the wall")
    messages = await transcribe(server, unknown + silence(1500), **options)
    assert "UtteranceEnd" not in [message.type for message in messages]


async def test_results_follow_each_other_without_a_gap(server: TestServer) -> None:
    said = audio(BOOKING) + silence(500)
    messages = await transcribe(server, said + said, endpointing=300)
    finals = [message for message in messages if message.type == "Results"]
    assert all(message.is_final for message in finals)
    assert finals[0].start == 0
    for before, after in pairwise(finals):
        assert after.start == pytest.approx(before.start + before.duration)


async def test_without_formatting_a_transcript_is_lower_case_and_bare(server: TestServer) -> None:
    messages = await transcribe(server, audio(BOOKING) + silence(500), endpointing=300)
    best = messages[0].channel.alternatives[0]
    assert best.transcript == "i would like to book a table for four people"
    assert best.words[-1].punctuated_word is None


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ({"encoding": "opus"}, "encoding"),
        ({"sample_rate": "16000"}, "sample_rate"),
        ({"model": "nova-99"}, "model"),
        ({"utterance_end_ms": "500", "interim_results": "true"}, "utterance_end_ms"),
        ({"utterance_end_ms": "1000"}, "interim_results"),
    ],
)
async def test_a_wrong_parameter_is_refused_as_the_vendor_does(
    server: TestServer, query: dict[str, str], complaint: str
) -> None:
    right = {"model": "nova-3", "encoding": "mulaw", "sample_rate": "8000"}
    headers = {"Authorization": "Token stand-in"}
    async with (
        aiohttp.ClientSession() as http,
        http.get(server.make_url("/v1/listen"), params={**right, **query}, headers=headers) as answer,
    ):
        body = await answer.json()
        assert answer.status == 400
        assert complaint in body["err_msg"]
        assert set(body) == {"err_code", "err_msg", "request_id"}


@pytest.mark.parametrize("authorization", ["", "Bearer stand-in", "Token wrong"])
async def test_a_wrong_key_is_refused_as_the_vendor_does(server: TestServer, authorization: str) -> None:
    headers = {"Authorization": authorization}
    async with (
        aiohttp.ClientSession() as http,
        http.get(server.make_url("/v1/listen"), headers=headers) as answer,
    ):
        assert answer.status == 401
        assert (await answer.json())["err_code"] == "INVALID_AUTH"


@pytest.mark.parametrize(("piece", "offset"), [(160, 0), (320, 13), (480, 80), (477, 1)])
async def test_a_clip_is_understood_exactly_wherever_it_lies_and_is_cut(
    server: TestServer, monkeypatch: pytest.MonkeyPatch, piece: int, offset: int
) -> None:
    """No phrase is taught by its sound, and none is compared."""
    monkeypatch.setattr("simulator.ear.spectrogram", None)
    texts = [f"my order number is {number}, and I would like to know where it is" for number in ("one", "nine")]
    # espeak-ng never says a text twice in quite the same way.
    sounds = [audio(text) for text in texts]
    clips = [
        {"text": text, "mulaw": base64.b64encode(sound).decode()} for text, sound in zip(texts, sounds, strict=True)
    ]
    said = silence(200)[offset:] + sounds[1] + silence(400)
    stream = [said[at : at + piece] for at in range(0, len(said), piece)]
    query = {"model": "nova-3", "encoding": "mulaw", "sample_rate": "8000", "endpointing": "false", "punctuate": "true"}
    async with aiohttp.ClientSession(headers={"Authorization": "Token stand-in"}) as http:
        async with http.post(server.make_url("/standins/phrases"), json={"clips": clips}) as answer:
            assert await answer.json() == {"learned": 2}
        for cut in (len(stream) // 3, len(stream) // 2, len(stream)):
            heard: list[str] = []
            async with http.ws_connect(server.make_url("/v1/listen"), params=query) as socket:
                for index, data in enumerate(stream, 1):
                    await socket.send_bytes(data)
                    if index == cut:
                        await socket.send_str('{"type": "Finalize"}')
                await socket.send_str('{"type": "CloseStream"}')
                async for message in socket:
                    if (results := message.json())["type"] == "Results":
                        (alternative,) = results["channel"]["alternatives"]
                        heard += [alternative["transcript"]] if alternative["transcript"] else []
                        assert alternative["confidence"] in (0.0, 1.0)
            assert " ".join(heard) == texts[1]
            assert len(heard) == (1 if cut == len(stream) else 2)


async def test_compression_is_declined(server: TestServer) -> None:
    query = {"model": "nova-3", "encoding": "mulaw", "sample_rate": "8000"}
    async with (
        aiohttp.ClientSession(headers={"Authorization": "Token stand-in"}) as http,
        http.ws_connect(server.make_url("/v1/listen"), params=query, compress=15) as socket,
    ):
        assert socket.compress == 0


@pytest.mark.parametrize(
    "body",
    [
        '{"clips": [{"text": "a", "mulaw": "/////w=="}]}',
        '{"clips": [{"text": "a", "mulaw": "%"}]}',
        '{"clips": [], "texts": []}',
        '{"texts": []}',
        '{"texts": "no list"}',
        "no json",
        '{"texts": ["a"], "voice": "nobody"}',
        '{"text": ["a"]}',
    ],
)
async def test_a_lesson_that_cannot_be_learned_is_refused_with_a_reason(server: TestServer, body: str) -> None:
    async with aiohttp.ClientSession() as http:
        for _ in range(2):
            async with http.post(server.make_url("/standins/phrases"), data=body) as answer:
                assert answer.status == 400
                assert (await answer.json())["error"]


async def test_a_text_message_that_means_nothing_is_answered_with_an_error(server: TestServer) -> None:
    query = {"model": "nova-3", "encoding": "mulaw", "sample_rate": "8000"}
    async with (
        aiohttp.ClientSession(headers={"Authorization": "Token stand-in"}) as http,
        http.ws_connect(server.make_url("/v1/listen"), params=query) as socket,
    ):
        await socket.send_str("Finalise, please")
        error = await socket.receive_json(timeout=5)
        assert error["type"] == "Error"
        assert error["variant"] == "SchemaError"


async def test_finals_come_as_late_as_they_are_told_to() -> None:
    async with Vendor() as vendor:
        vendor.behaviour.stt_final_ms = 200
        loop = asyncio.get_running_loop()
        began = loop.time()
        await transcribe(vendor.server, audio(BOOKING) + silence(500), endpointing=300)
        assert loop.time() - began >= 0.2
