"""The operator's endpoints, what the open ones tell, and calls that are ended from elsewhere."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio
from pydantic import SecretStr

from services.gateway import orphans
from shared.messages import CallEnded
from shared.nats_bus import NatsBus
from tests.fakes import Heard
from tests.integration.gateway_peer import API_KEY, Peer, gateway_on, serve
from tests.integration.test_gateway import closed_with


@pytest_asyncio.fixture
async def peer(bus: NatsBus) -> AsyncIterator[Peer]:
    async with serve(bus) as made:
        yield made


@pytest.mark.parametrize(("method", "path"), [("GET", "/metrics"), ("GET", "/calls"), ("DELETE", "/calls/CA1")])
async def test_they_need_the_key(peer: Peer, method: str, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {API_KEY}"}):
        answer = await peer.request(method, path, headers)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert API_KEY not in await answer.text()


@pytest.mark.parametrize("path", ["/metrics", "/calls"])
async def test_without_a_key_in_the_settings_they_are_closed_and_say_why(bus: NatsBus, path: str) -> None:
    async with gateway_on(bus, {}, {}, api_key=SecretStr("")) as peer:
        answer = await peer.operate("GET", path, "")
        assert answer.status == 403
        assert "API_KEY" in await answer.text()


async def test_the_live_calls_are_listed_and_can_be_ended(peer: Peer, bus: NatsBus) -> None:
    call_id, media = await peer.live()
    heard = await Heard.on(bus, call_id)
    calls = await (await peer.operate("GET", "/calls")).json()
    assert [call["state"] for call in calls if call["call_id"] == call_id] == ["live"]
    assert (await peer.operate("DELETE", f"/calls/{call_id}")).status == 204
    assert (await heard.wait_for(CallEnded)).reason == "operator"
    assert await closed_with(media) == 1000
    _, document = await peer.ring(call_id)
    assert [element.tag for element in document] == ["Hangup"]
    assert (await peer.operate("DELETE", f"/calls/{call_id}")).status == 404


async def test_a_call_can_be_ended_at_any_gateway(peer: Peer, bus: NatsBus) -> None:
    call_id, media = await peer.live()
    async with gateway_on(bus, peer.stages, peer.workers) as other:
        assert (await other.operate("DELETE", f"/calls/{call_id}")).status == 204
        assert await closed_with(media) == 1000


@pytest.mark.parametrize("path", ["a.b", "a%3E", "%2A", "x" * 65, "a%0d%0aPUB%20x"])
async def test_a_bad_call_id_ends_nothing(peer: Peer, path: str) -> None:
    assert (await peer.operate("DELETE", f"/calls/{path}")).status == 400
    assert (await peer.operate("DELETE", f"/calls/CA{uuid4().hex}")).status == 404


async def test_health_and_readiness_are_open_and_tell_nothing_secret(peer: Peer) -> None:
    call_id, _ = await peer.live()
    for path in ("/health", "/ready"):
        text = await (await peer.request("GET", path, {})).text()
        for secret in (API_KEY, call_id, "+49123", "key", "token"):
            assert secret not in text


async def test_the_calls_of_a_gateway_that_has_fallen_silent_end(
    peer: Peer, bus: NatsBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "REDIAL_WITHIN_S", 1.5)
    async with gateway_on(bus, peer.stages, peer.workers) as other:
        (left, media), (adopted, _) = await peer.live(), await peer.live()
        heard = await Heard.on(bus, left)
        assert peer.gateway is not None
        peer.gateway.pulse.stop()
        _, token = await other.token(adopted)
        second = await other.open(adopted, token)
        assert (await heard.wait_for(CallEnded)).reason == "carrier_lost"
        assert await closed_with(media) == 1000
        assert [element.tag for element in (await other.ring(left))[1]] == ["Hangup"]
        assert not second.closed
        await bus.flush()
        assert len([message for message in heard.messages if isinstance(message, CallEnded)]) == 1
