"""A full system: the sentence, the queue, the other number."""

import asyncio
import wave
from io import BytesIO
from uuid import uuid4
from xml.etree.ElementTree import Element

import pytest

from shared.nats_bus import NatsBus
from tests.integration.gateway_peer import Peer, gateway_on, serve


def tags(document: Element) -> list[str]:
    return [element.tag for element in document]


def text(document: Element, tag: str) -> str:
    return document.findtext(f"./{tag}") or ""


async def hang_up(peer: Peer, call_id: str) -> None:
    assert (await peer.post("/twilio/status", {"CallSid": call_id, "CallStatus": "completed"})).status == 204


async def asked_until_connected(peer: Peer, call_id: str) -> None:
    """The worker lets go of the call before a moment later; the carrier asks again and again anyway."""
    async with asyncio.timeout(5):
        while tags((await peer.ring(call_id))[1]) != ["Connect", "Redirect"]:
            await asyncio.sleep(0.05)


@pytest.fixture(autouse=True)
async def empty_list(bus: NatsBus) -> None:
    await (await bus.bucket("waiting", 60)).delete("list")


async def test_say(bus: NatsBus) -> None:
    async with serve(bus, capacity=1) as peer:
        await peer.ready()
        await peer.ring()
        _, document = await peer.ring()
        assert tags(document) == ["Play", "Hangup"]
        assert text(document, "Play") == f"{peer.url}/twilio/sounds/busy.wav"
        metrics = await (await peer.operate("GET", "/metrics")).text()
        assert 'trunkline_calls_refused_total{reason="full"} ' in metrics


async def test_redirect(bus: NatsBus) -> None:
    async with serve(bus, capacity=1, busy_action="redirect", busy_number="+4930123456") as peer:
        await peer.ready()
        await peer.ring()
        _, document = await peer.ring()
        assert tags(document) == ["Dial", "Hangup"]
        assert text(document, "Dial") == "+4930123456"


async def test_callers_wait_in_one_queue_for_all_gateways(bus: NatsBus) -> None:
    async with (
        serve(bus, capacity=1, busy_action="queue", queue_limit=2) as peer,
        gateway_on(bus, peer.stages, peer.workers, busy_action="queue", queue_limit=2) as other,
    ):
        await peer.ready()
        await other.ready()
        live, _ = await peer.ring()
        first, document = await peer.ring()
        assert tags(document) == ["Play", "Say", "Pause", "Redirect"]
        assert text(document, "Say") == "You are number 1 in the line."
        assert text(document, "Redirect") == f"{peer.url}/twilio/voice"
        second, document = await other.ring()
        assert text(document, "Say") == "You are number 2 in the line."
        _, document = await other.ring()
        assert tags(document) == ["Play", "Hangup"], "the queue is full"
        _, document = await peer.ring(second)
        assert tags(document) == ["Pause", "Redirect"], "nothing has changed"
        assert "trunkline_waiting 2.0" in await (await peer.operate("GET", "/metrics")).text()
        await hang_up(peer, live)
        assert tags((await other.ring(second))[1]) == ["Pause", "Redirect"], "nobody overtakes"
        assert tags((await other.ring(f"CA{uuid4().hex}"))[1]) == ["Play", "Hangup"], "nor does a newcomer"
        await asked_until_connected(other, first)
        _, document = await peer.ring(second)
        assert text(document, "Say") == "You are number 1 in the line."
        await hang_up(peer, second)
        third, document = await peer.ring()
        assert text(document, "Say") == "You are number 1 in the line."
        _, document = await other.ring(first)
        assert document.find("Connect") is not None, "a redial of a live call does not wait"
        await hang_up(other, first)
        await asked_until_connected(other, third)


async def test_capacity_is_exact(bus: NatsBus) -> None:
    async with serve(bus, capacity=3, busy_action="queue") as peer:
        await peer.ready()
        rung = await asyncio.gather(*(peer.ring(caller=f"+4{index}") for index in range(8)))
        connected = [call_id for call_id, document in rung if document.find("Connect") is not None]
        assert len(connected) == 3
        assert all(tags(document)[-2:] == ["Pause", "Redirect"] for call, document in rung if call not in connected)
        for call_id in connected:
            await hang_up(peer, call_id)
        waiting = [call_id for call_id, _ in rung if call_id not in connected]
        async with asyncio.timeout(10):
            while waiting:
                for call_id in list(waiting):
                    _, document = await peer.ring(call_id)
                    if document.find("Connect") is not None:
                        waiting.remove(call_id)
                        await hang_up(peer, call_id)


@pytest.mark.parametrize("name", ["busy", "hold"])
async def test_the_sentences_are_files_that_the_carrier_can_play(bus: NatsBus, name: str) -> None:
    async with gateway_on(bus, {}, {}) as peer:
        answer = await peer.request("GET", f"/twilio/sounds/{name}.wav", {})
        assert (answer.status, answer.content_type) == (200, "audio/wav")
        body = await answer.read()
        assert body[:4] == b"RIFF"
        assert int.from_bytes(body[4:8], "little") == len(body) - 8
        with pytest.raises(wave.Error, match="7"), wave.open(BytesIO(body)):
            pass
        assert 1 < int.from_bytes(body[body.index(b"fact") + 8 :][:4], "little") / 8000 < 8


@pytest.mark.parametrize("path", ["sorry.wav", "..%2fsorry.ulaw", "%2e%2e/sorry.ulaw", "busy.ulaw", ""])
async def test_no_other_file_is_served(bus: NatsBus, path: str) -> None:
    async with gateway_on(bus, {}, {}) as peer:
        assert (await peer.request("GET", f"/twilio/sounds/{path}", {})).status == 404
