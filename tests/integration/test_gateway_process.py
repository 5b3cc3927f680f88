"""Gateways as processes: what they log, how they share a port, how they leave."""

import asyncio
import json
import time
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import aiohttp
import pytest

from shared.messages import CallStarted, Digit
from shared.nats_bus import NatsBus
from tests.fakes import Heard
from tests.integration import gateway_process
from tests.integration.gateway_peer import Peer, start, workers_on
from tests.integration.gateway_process import GatewayProcess, carrier, free_port
from tests.integration.test_gateway import closed_with

HOSTILE = "x\r\nINJECTED level=error\x1b[31m\x00\u2028*.>' \"<Response>{}"


async def be_hostile(peer: Peer, bus: NatsBus) -> None:
    call_id = f"CA{uuid4().hex}"
    heard = await Heard.on(bus, call_id)
    form = {"CallSid": call_id, "From": HOSTILE, "To": HOSTILE}
    assert (await peer.post("/twilio/voice", form)).status == 200
    _, token = await peer.token(call_id)
    media = await peer.open(call_id, token)
    started = await heard.wait_for(CallStarted)
    assert (started.caller, started.dialled) == (HOSTILE, HOSTILE)
    await media.send_json({"event": HOSTILE})
    await media.send_json({"event": "mark", "mark": {"name": HOSTILE}})
    for digit in (HOSTILE, "#"):
        await media.send_json({"event": "dtmf", "dtmf": {"digit": digit}})
    async with asyncio.timeout(5):
        while (await heard.wait_for(Digit)) and "#" not in [m.digit for m in heard.messages if isinstance(m, Digit)]:
            await asyncio.sleep(0.01)
    for first in (start(call_id, HOSTILE, named=HOSTILE), json.dumps({"event": HOSTILE}), HOSTILE):
        stray = await peer.http.ws_connect(f"{peer.url}/twilio/media/{quote(HOSTILE)}")
        await stray.send_str(first)
        assert await closed_with(stray) == 1008
        stray = await peer.http.ws_connect(f"{peer.url}/twilio/media/{call_id}")
        await stray.send_str(first)
        assert await closed_with(stray) == 1008
    assert (await peer.post("/twilio/status", {"CallSid": HOSTILE})).status == 400
    assert (await peer.post("/twilio/status", {"CallSid": call_id, "CallStatus": HOSTILE})).status == 204
    assert (await peer.post("/twilio/voice", {"CallSid": call_id}, "'\"x*.>")).status == 403
    await peer.operate("DELETE", f"/calls/{quote(HOSTILE)}")


@pytest.mark.parametrize("form", ["json", "console"])
async def test_hostile_values_stay_values(nats_url: str, bus: NatsBus, tmp_path: Path, form: str) -> None:
    async with (
        workers_on(bus) as (stages, workers),
        gateway_process.running(nats_url, free_port(), tmp_path / "log", LOG_FORMAT=form, LOG_LEVEL="debug") as gateway,
        aiohttp.ClientSession() as http,
    ):
        await be_hostile(Peer(bus, http, gateway.url, stages, workers), bus)
        await gateway.until_logged("media_socket_refused", 6)
        assert await gateway.stop() == 0
    written = gateway.written()
    assert "INJECTED" in written, "the test is worth nothing when none of it is logged"
    assert not any(line.startswith("INJECTED") for line in written.splitlines())
    assert "\x00" not in written
    assert "\x1b[31mx" not in written
    assert "\x1b[31m\x00" not in written
    if form == "json":
        assert all(isinstance(json.loads(line), dict) for line in written.split("\n") if line)


def connected(gateway: GatewayProcess) -> set[str]:
    """The calls whose media sockets it has opened."""
    lines = [json.loads(line) for line in gateway.written().splitlines()]
    return {line["call_id"] for line in lines if line["event"] == "call_connected"}


async def test_a_gateway_leaves_its_calls_to_the_other_one_on_its_port(
    nats_url: str, bus: NatsBus, tmp_path: Path
) -> None:
    port = free_port()
    async with (
        workers_on(bus) as (stages, workers),
        gateway_process.running(nats_url, port, tmp_path / "one") as one,
        gateway_process.running(nats_url, port, tmp_path / "two") as two,
        carrier() as http,
    ):
        peer = Peer(bus, http, one.url, stages, workers)
        calls: dict[str, aiohttp.ClientWebSocketResponse] = {}
        while not (connected(one) and connected(two)):
            call_id, media = await peer.live()
            calls[call_id] = media
        leaving = connected(one)
        begun = time.monotonic()
        one.ask_to_stop()
        for call_id in leaving:
            assert await closed_with(calls[call_id]) == 1000
            _, token = await peer.token(call_id)
            calls[call_id] = await peer.open(call_id, token)
        assert await one.ended() == 0
        assert time.monotonic() - begun < 8
        async with asyncio.timeout(5):
            while not connected(two) >= calls.keys():
                await asyncio.sleep(0.02)
        assert not any(media.closed for media in calls.values())
        assert "call_ended" not in one.written() + two.written()
        await asyncio.gather(*(media.close() for media in calls.values()))


async def test_a_gateway_alone_waits_for_its_calls(nats_url: str, bus: NatsBus, tmp_path: Path) -> None:
    async with (
        workers_on(bus) as (stages, workers),
        gateway_process.running(nats_url, free_port(), tmp_path / "log") as gateway,
        aiohttp.ClientSession() as http,
    ):
        peer = Peer(bus, http, gateway.url, stages, workers)
        call_id, media = await peer.live()
        gateway.ask_to_stop()
        await gateway.until_logged("gateway_draining")
        answer = await peer.post("/twilio/voice", {"CallSid": call_id, "From": "+49123", "To": "+15550100"})
        assert answer.headers["Connection"] == "close"
        assert "<Stream" in await answer.text(), "a redial is answered"
        _, document = await peer.ring()
        assert [element.tag for element in document] == ["Say", "Hangup"], "a newcomer would be cut off soon"
        await media.send_json({"event": "stop", "stop": {"callSid": call_id}})
        assert await gateway.ended() == 0
