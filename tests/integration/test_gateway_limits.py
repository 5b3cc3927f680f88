"""Limits at the gateway's edge: calls per minute, sizes, time, tokens."""

import json
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio

from services.gateway.server import MAX_MESSAGE
from services.gateway.twilio import socket as media_socket
from services.gateway.twilio.routes import MAX_BODY
from shared.nats_bus import NatsBus
from tests.integration.gateway_peer import Peer, media_frame, serve
from tests.integration.test_gateway import closed_with, frames_of, next_frame


@pytest_asyncio.fixture
async def peer(bus: NatsBus) -> AsyncIterator[Peer]:
    async with serve(bus) as made:
        yield made


async def test_a_caller_who_calls_too_often_hears_the_busy_tone(bus: NatsBus) -> None:
    async with serve(bus, calls_per_minute_caller=2) as peer:
        first, _ = await peer.ring()
        await peer.ring()
        _, document = await peer.ring()
        assert [(element.tag, element.attrib) for element in document] == [("Reject", {"reason": "busy"})]
        _, again = await peer.ring(first)
        assert [element.tag for element in again] == ["Connect", "Redirect"]
        _, other = await peer.ring(caller="+49456")
        assert other.find("Connect") is not None


async def test_a_source_that_calls_too_often_is_told_so(bus: NatsBus) -> None:
    async with serve(bus, calls_per_minute_source=2) as peer:
        first, _ = await peer.ring()
        for status in (403, 429):
            answer = await peer.post("/twilio/voice", {"CallSid": first}, "wrong")
            assert answer.status == status
        spoofed = {"CallSid": f"CA{uuid4().hex}", "From": "+1", "To": "+2"}
        assert (await peer.post("/twilio/voice", spoofed)).status == 429
        _, again = await peer.ring(first)
        assert again.find("Connect") is not None


async def test_nobody_gives_another_source_than_its_own(bus: NatsBus) -> None:
    async with serve(bus, calls_per_minute_source=1) as peer:
        await peer.ring()
        peer.http.headers.update({"X-Forwarded-For": "203.0.113.7", "Forwarded": "for=203.0.113.7"})
        form = {"CallSid": f"CA{uuid4().hex}", "From": "+1", "To": "+2"}
        assert (await peer.post("/twilio/voice", form)).status == 429


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [("203.0.113.7", 200), ("203.0.113.7, 203.0.113.1", 429), ("203.0.113.7, 203.0.113.2, 127.0.0.9", 200)],
)
async def test_a_trusted_proxy_tells_the_source(bus: NatsBus, forwarded: str, status: int) -> None:
    async with serve(bus, calls_per_minute_source=1, trusted_proxies="127.0.0.0/8") as peer:
        peer.http.headers.update({"X-Forwarded-For": "203.0.113.1"})
        await peer.ring()
        # The last address that is none of the proxies', whatever the caller wrote before it.
        peer.http.headers.update({"X-Forwarded-For": forwarded})
        form = {"CallSid": f"CA{uuid4().hex}", "From": "+1", "To": "+2"}
        assert (await peer.post("/twilio/voice", form)).status == status


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 413)])
async def test_a_body_may_have_64_kib(peer: Peer, more: int, status: int) -> None:
    form = {"CallSid": f"CA{uuid4().hex}", "From": "1", "To": "2", "x": ""}
    length = len("&".join(f"{name}={value}" for name, value in form.items()))
    form["x"] = "y" * (MAX_BODY - length + more)
    assert (await peer.post("/twilio/voice", form)).status == status


@pytest.mark.parametrize("size", [MAX_MESSAGE, MAX_MESSAGE + 1])
async def test_a_media_message_may_have_64_kib(peer: Peer, bus: NatsBus, size: int) -> None:
    call_id, media = await peer.live()
    frames = await frames_of(bus, call_id)
    empty = json.dumps({"event": "tomorrow", "x": ""})
    await media.send_str(json.dumps({"event": "tomorrow", "x": "y" * (size - len(empty))}))
    if size > MAX_MESSAGE:
        assert await closed_with(media) == 1009
    else:
        await media.send_str(media_frame(20, b"\x01" * 160))
        assert (await next_frame(frames)).timestamp_ms == 20


@pytest.mark.parametrize("said", [[], ['{"event": "connected"}']])
async def test_a_socket_that_does_not_start_is_closed(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    assert media_socket._START_WITHIN_S == 5
    monkeypatch.setattr(media_socket, "_START_WITHIN_S", 0.2)
    call_id, _ = await peer.token()
    media = await peer.http.ws_connect(f"{peer.url}/twilio/media/{call_id}")
    for message in said:
        await media.send_str(message)
    assert await closed_with(media) == 1008


async def test_a_token_is_void_when_a_newer_document_has_another(peer: Peer) -> None:
    call_id, old = await peer.token()
    _, new = await peer.token(call_id)
    assert await closed_with(await peer.open(call_id, old)) == 1008
    assert not (await peer.open(call_id, new)).closed


async def test_no_token_revives_a_call_that_is_over(peer: Peer) -> None:
    call_id, token = await peer.token()
    assert (await peer.post("/twilio/status", {"CallSid": call_id, "CallStatus": "completed"})).status == 204
    assert await closed_with(await peer.open(call_id, token)) == 1008
    _, document = await peer.ring(call_id)
    assert [element.tag for element in document] == ["Hangup"]
