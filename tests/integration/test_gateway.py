"""The gateway on real sockets and a real broker: what it grants, and what it refuses."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest
import pytest_asyncio

from services.gateway.departure import leave
from shared import nats_bus, subjects
from shared.channel import CallChannel
from shared.messages import AudioIn, CallEnded, Control, Playback
from shared.nats_bus import NatsBus
from simulator.plan import Plan
from simulator.readiness import asked
from simulator.ring import Ring
from tests.fakes import Heard
from tests.integration.gateway_peer import Peer, gateway_on, media_frame, serve, start


@pytest_asyncio.fixture
async def peer(bus: NatsBus) -> AsyncIterator[Peer]:
    async with serve(bus) as made:
        yield made


async def closed_with(media: aiohttp.ClientWebSocketResponse) -> int:
    message = await asyncio.wait_for(media.receive(), 5)
    assert message.type is aiohttp.WSMsgType.CLOSE
    # Not the socket's own code: that is 1006 when the gateway has gone before it was answered.
    code: int = message.data
    return code


async def frames_of(bus: NatsBus, call_id: str) -> "asyncio.Queue[AudioIn]":
    frames: asyncio.Queue[AudioIn] = asyncio.Queue()
    channel = CallChannel(bus, call_id, "stt", 1)
    await channel.on_audio_in(frames.put_nowait)
    await channel.flush()
    return frames


async def next_frame(frames: "asyncio.Queue[AudioIn]") -> AudioIn:
    return await asyncio.wait_for(frames.get(), 5)


async def test_a_call_streams_and_then_asks_again(peer: Peer) -> None:
    call_id, document = await peer.ring()
    stream = document.find("./Connect/Stream")
    again = document.find("./Redirect")
    assert stream is not None
    assert again is not None
    assert stream.attrib["url"] == f"{peer.url.replace('http', 'ws')}/twilio/media/{call_id}"
    assert {p.attrib["name"] for p in stream} == {"call_id", "agent", "token"}
    assert (again.text, again.attrib["method"]) == (f"{peer.url}/twilio/voice", "POST")
    assert [element.tag for element in document] == ["Connect", "Redirect"]


async def test_audio_goes_both_ways(peer: Peer, bus: NatsBus) -> None:
    call_id, media = await peer.live()
    frames = await frames_of(bus, call_id)
    await media.send_str(media_frame(40, b"\x11" * 160))
    assert await next_frame(frames) == AudioIn(1, 0, 40, b"\x11" * 160)
    await peer.stages["tts"].sessions[call_id].call.channel.send_audio_out(1, 0, b"\x22" * 1600, "Hi.", last=True)
    played = await asyncio.wait_for(media.receive_json(), 5)
    marked = await asyncio.wait_for(media.receive_json(), 5)
    assert (played["event"], played["streamSid"], len(played["media"]["payload"])) == ("media", "MZ1", 2136)
    assert (marked["event"], marked["mark"]["name"]) == ("mark", "1:1:200")


async def received(media: aiohttp.ClientWebSocketResponse, count: int) -> list[tuple[str, str]]:
    """The next messages: (event, name of the mark or first byte of the audio in base64)."""
    messages = [await asyncio.wait_for(media.receive_json(), 5) for _ in range(count)]
    bodies = [message.get(message["event"], {}) for message in messages]
    return [
        (message["event"], body.get("name") or body.get("payload", "")[:1])
        for message, body in zip(messages, bodies, strict=True)
    ]


async def test_a_reply_is_paused_and_resumed_as_twilio_can(peer: Peer, bus: NatsBus) -> None:
    call_id, media = await peer.live()
    heard = await Heard.on(bus, call_id)
    tts, llm = (peer.stages[name].sessions[call_id].call.channel for name in ("tts", "llm"))
    await tts.send_audio_out(1, 0, b"\x00" * 1600, "One ", last=False, turn_id=3, asked_at=5.0)
    await tts.send_audio_out(1, 200, b"\xff" * 16000, "two.", last=True, turn_id=3, asked_at=5.0)
    assert await received(media, 4) == [("media", "A"), ("mark", "1:1:200"), ("media", "/"), ("mark", "1:1:2200")]
    await media.send_json({"event": "mark", "streamSid": "MZ1", "mark": {"name": "1:1:200"}})
    await heard.wait_for(Playback, 2)
    await llm.send(Control(action="pause", generation=1))
    assert await received(media, 1) == [("clear", "")]
    # Twilio returns the marks of what it was told to drop.
    await media.send_json({"event": "mark", "streamSid": "MZ1", "mark": {"name": "1:1:2200"}})
    assert (await heard.wait_for(Playback, 3)).state == "paused"
    await llm.send(Control(action="resume", generation=1))
    assert await received(media, 2) == [("media", "/"), ("mark", "1:2:2200")]
    await media.send_json({"event": "mark", "streamSid": "MZ1", "mark": {"name": "1:2:2200"}})
    await heard.wait_for(Playback, 5)
    reports = [message for message in heard.messages if isinstance(message, Playback)]
    assert [(report.state, report.heard) for report in reports] == [
        ("started", ""),
        ("playing", "One "),
        ("paused", "One "),
        ("resumed", "One "),
        ("finished", "One two."),
    ]
    assert {report.turn_id for report in reports} == {3}
    started, playing = reports[:2]
    assert 5.0 == started.asked_at < started.synthesized_at <= started.received_at <= started.at < playing.at
    assert started.at - 1 < playing.audible_at < playing.at


async def test_the_agent_hangs_up_when_its_goodbye_was_heard(peer: Peer, bus: NatsBus) -> None:
    call_id, media = await peer.live()
    heard = await Heard.on(bus, call_id)
    tts, llm = (peer.stages[name].sessions[call_id].call.channel for name in ("tts", "llm"))
    await tts.send_audio_out(1, 0, b"\x00" * 1600, "Goodbye!", last=True)
    await llm.send(Control(action="hangup", generation=1))
    assert await received(media, 2) == [("media", "A"), ("mark", "1:1:200")]
    await media.send_json({"event": "mark", "streamSid": "MZ1", "mark": {"name": "1:1:200"}})
    assert await closed_with(media) == 1000
    assert (await heard.wait_for(CallEnded)).reason == "agent_hung_up"
    _, document = await peer.ring(call_id)
    assert [element.tag for element in document] == ["Hangup"]


async def test_stop_ends_the_call_for_every_stage(peer: Peer, bus: NatsBus) -> None:
    call_id, media = await peer.live()
    heard = await Heard.on(bus, call_id)
    await media.send_json({"event": "stop", "stop": {"callSid": call_id}})
    assert (await heard.wait_for(CallEnded)).reason == "caller_hung_up"
    for stage in ("stt", "llm", "tts"):
        await asyncio.wait_for(peer.stages[stage].sessions[call_id].closed.wait(), 5)
    _, document = await peer.ring(call_id)
    assert [element.tag for element in document] == ["Hangup"]


async def test_the_status_callback_ends_a_call(peer: Peer, bus: NatsBus) -> None:
    call_id, _ = await peer.token()
    heard = await Heard.on(bus, call_id)
    answer = await peer.post("/twilio/status", {"CallSid": call_id, "CallStatus": "completed"})
    assert answer.status == 204
    assert (await heard.wait_for(CallEnded)).reason == "caller_hung_up"


@pytest.mark.parametrize("path", ["/twilio/voice", "/twilio/status"])
@pytest.mark.parametrize("signature", ["", "wrong", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="])
async def test_a_wrong_signature_is_refused(peer: Peer, path: str, signature: str) -> None:
    form = {"CallSid": f"CA{uuid4().hex}", "From": "+1", "To": "+15550100"}
    assert (await peer.post(path, form, signature)).status == 403
    assert peer.stages["stt"].sessions == {}


@pytest.mark.parametrize("call_id", ["", "a.b", "a>", "*", "a b", "../../x", "x" * 65, "a\r\nPUB x 0"])
async def test_a_call_id_that_may_not_reach_a_subject_is_refused(peer: Peer, call_id: str) -> None:
    assert (await peer.post("/twilio/voice", {"CallSid": call_id, "From": "+1", "To": "+2"})).status == 400


async def test_a_body_that_is_too_large_is_refused(peer: Peer) -> None:
    assert (await peer.post("/twilio/voice", {"CallSid": "CA1", "x": "y" * 70_000})).status == 413


@pytest.mark.parametrize("token", ["", "wrong"])
async def test_a_socket_without_a_valid_token_is_closed(peer: Peer, token: str) -> None:
    call_id, _ = await peer.token()
    assert await closed_with(await peer.open(call_id, token)) == 1008


async def test_a_token_is_good_for_one_socket_of_its_own_call(peer: Peer) -> None:
    call_id, token = await peer.token()
    other, _ = await peer.token()
    assert await closed_with(await peer.open(other, token)) == 1008
    live = await peer.open(call_id, token)
    assert await closed_with(await peer.open(call_id, token)) == 1008
    assert not live.closed


@pytest.mark.parametrize("path", ["a.b", "a%3E", "%2A", "x" * 65])
async def test_a_socket_for_a_bad_call_id_is_closed(peer: Peer, path: str) -> None:
    media = await peer.http.ws_connect(f"{peer.url}/twilio/media/{path}")
    assert await closed_with(media) == 1008


@pytest.mark.parametrize(
    "first",
    [
        media_frame(0, b"\xff" * 160),
        "not json",
        "{}",
        '{"event": "start"}',
        '{"event": "stop"}',
    ],
)
async def test_what_comes_before_start_closes_the_socket(peer: Peer, first: str) -> None:
    call_id, _ = await peer.token()
    media = await peer.http.ws_connect(f"{peer.url}/twilio/media/{call_id}")
    await media.send_str(first)
    assert await closed_with(media) == 1008


async def test_a_start_that_names_another_call_closes_the_socket(peer: Peer) -> None:
    call_id, token = await peer.token()
    for message in (start("CAother", token), start(call_id, token, named="CAother")):
        media = await peer.http.ws_connect(f"{peer.url}/twilio/media/{call_id}")
        await media.send_str(message)
        assert await closed_with(media) == 1008


@pytest.mark.parametrize(
    "noise",
    [
        "garbage",
        '{"event": "media", "media": {"payload": "*not base64*"}}',
        '{"event": "tomorrow"}',
        media_frame(0, b"x" * 8001),
        '{"event": "mark", "mark": {"name": "never sent"}}',
        '{"event": "media", "media": {"payload": "AAAA", "timestamp": "-5"}}',
    ],
)
async def test_a_live_call_survives_a_bad_message(peer: Peer, bus: NatsBus, noise: str) -> None:
    call_id, media = await peer.live()
    frames = await frames_of(bus, call_id)
    await media.send_str(noise)
    await media.send_bytes(b"\x00\xff")
    await media.send_str(media_frame(20, b"\x01" * 160))
    assert (await next_frame(frames)).timestamp_ms == 20


async def test_a_message_that_is_too_large_closes_the_socket(peer: Peer) -> None:
    _, media = await peer.live()
    await media.send_str(media_frame(0, b"x" * 100_000))
    assert await closed_with(media) == 1009


async def test_a_second_socket_takes_the_call_over(peer: Peer, bus: NatsBus) -> None:
    call_id, first = await peer.live()
    _, token = await peer.token(call_id)
    second = await peer.open(call_id, token)
    assert await closed_with(first) == 1000
    frames = await frames_of(bus, call_id)
    await second.send_str(media_frame(60, b"\x01" * 160))
    assert await next_frame(frames) == AudioIn(2, 0, 60, b"\x01" * 160)
    assert not peer.stages["stt"].sessions[call_id].closed.is_set()


async def test_without_a_stage_the_caller_hears_a_sentence(peer: Peer) -> None:
    await peer.workers["llm"].drain(0)
    call_id, document = await peer.ring()
    said = document.find("./Say")
    assert said is not None
    assert "sorry" in (said.text or "")
    assert document.find("./Hangup") is not None
    await asyncio.wait_for(peer.stages["stt"].sessions[call_id].closed.wait(), 5)


async def test_a_gateway_that_misses_a_stage_stays_ready_and_names_it(peer: Peer) -> None:
    await peer.ready()
    await peer.workers["tts"].drain(0)
    async with asyncio.timeout(5):
        while (await asked(peer.http, peer.url))["missing"] != ["tts"]:
            await asyncio.sleep(0.02)
    answer = await peer.request("GET", "/ready", {})
    assert (answer.status, (await answer.json())["ready"]) == (200, True)


async def test_a_draining_gateway_is_not_ready_and_lives(peer: Peer) -> None:
    assert peer.gateway is not None
    await leave(peer.gateway.switchboard, 0)
    answer = await peer.request("GET", "/ready", {})
    assert (answer.status, (await answer.json())["draining"]) == (503, True)
    assert (await (await peer.request("GET", "/health", {})).json())["status"] == "alive"


async def test_a_gateway_without_a_broker_is_not_ready_until_it_is_back(tmp_path: Path) -> None:
    async with Ring(Plan(counts={}), tmp_path) as ring:
        bus = await nats_bus.connect(ring.broker("gateway"), "test")
        async with gateway_on(bus, {}, {}) as peer:
            statuses = [(await peer.request("GET", "/ready", {})).status]
            for change in (ring.kill, ring.restart):
                await change("nats")
                async with asyncio.timeout(10):
                    while (answer := await peer.request("GET", "/ready", {})).status == statuses[-1]:
                        await asyncio.sleep(0.02)
                statuses.append(answer.status)
        await bus.close()
    assert statuses == [200, 503, 200]


async def test_metrics_count_the_calls(peer: Peer) -> None:
    await peer.live()
    text = await (await peer.operate("GET", "/metrics")).text()
    assert 'trunkline_calls{stage="gateway"} 1.0' in text
    assert 'trunkline_leases_total{outcome="granted",stage="stt"}' in text


async def test_the_live_calls_can_be_asked_for(peer: Peer, bus: NatsBus) -> None:
    call_id, _ = await peer.live()
    calls = json.loads(await bus.request(subjects.LIVE_CALLS, b"", 5))
    [mine] = [call for call in calls if call["call_id"] == call_id]
    assert (mine["agent"], mine["state"], mine["caller"]) == ("bella", "live", "+49123")
    assert set(mine["workers"]) == {"stt", "llm", "tts"}
