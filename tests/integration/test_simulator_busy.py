"""What the simulated phone makes of a gateway that is full or refuses the call."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from services.gateway.twilio import routes
from services.gateway.twilio.sounds import wav
from shared.nats_bus import NatsBus
from simulator.carrier import Gateway
from simulator.phone import CallOver, Phone
from tests.integration.fake_gateway import TOKEN, FakeGateway
from tests.integration.gateway_peer import AUTH_TOKEN, serve


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    fake = FakeGateway()
    await fake.start()
    yield fake
    await fake.stop()


async def outcome(http: aiohttp.ClientSession, url: str, token: str) -> Phone:
    phone = Phone(http, Gateway(url, token), "+15550100")
    with pytest.raises(CallOver):
        await phone.dial()
    return phone


@pytest.mark.parametrize(
    ("document", "ended"),
    [
        ("<Reject reason='busy'/>", "the call was rejected: busy"),
        ("<Dial>+4930123456</Dial><Hangup/>", "the caller was sent on to +4930123456"),
    ],
)
async def test_a_call_may_end_without_a_stream(
    http: aiohttp.ClientSession, gateway: FakeGateway, document: str, ended: str
) -> None:
    gateway.documents = [f"<Response>{document}</Response>"]
    assert (await outcome(http, gateway.url, TOKEN)).record.ended == ended


async def test_a_file_that_cannot_be_played_is_a_fault(http: aiohttp.ClientSession, gateway: FakeGateway) -> None:
    gateway.documents = [f"<Response><Play>{gateway.url}/none.wav</Play><Hangup/></Response>"]
    [fault] = (await outcome(http, gateway.url, TOKEN)).record.faults
    assert "status 404" in fault


async def test_a_file_takes_its_time(http: aiohttp.ClientSession, gateway: FakeGateway) -> None:
    async def sound(request: web.Request) -> web.Response:
        return web.Response(body=wav(b"\xff" * 2400), content_type="audio/wav")

    runner = web.AppRunner(files := web.Application())
    files.router.add_get("/a.wav", sound)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    gateway.documents = [f"<Response><Play>http://127.0.0.1:{port}/a.wav</Play><Hangup/></Response>"]
    phone = Phone(http, Gateway(gateway.url, TOKEN), "+15550100")
    begun = phone.clock()
    with pytest.raises(CallOver):
        await phone.dial()
    assert 0.3 <= phone.clock() - begun < 3
    assert phone.record.faults == []
    await runner.cleanup()


async def test_a_caller_waits_in_the_queue_until_a_place_is_free(
    http: aiohttp.ClientSession, bus: NatsBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "_PAUSE_S", 1)
    await (await bus.bucket("waiting", 60)).delete("list")
    async with serve(bus, capacity=1, busy_action="queue") as peer:
        await peer.ready()
        live, _ = await peer.ring()
        phone = Phone(http, Gateway(peer.url, AUTH_TOKEN), "+15550100")
        dialling = asyncio.create_task(phone.dial())
        async with asyncio.timeout(5):
            while not phone.record.documents:
                await asyncio.sleep(0.02)
        await peer.post("/twilio/status", {"CallSid": live, "CallStatus": "completed"})
        await dialling
        assert phone.record.sentences == [f"[plays {peer.url}/twilio/sounds/hold.wav]", "You are number 1 in the line."]
        assert (phone.record.documents, phone.record.streams, phone.record.faults) == (2, 1, [])
        await phone.hang_up()
