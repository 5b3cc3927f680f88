"""Audio on its way to the broker, without a broker."""

import asyncio
from typing import cast

import nats.errors
import pytest
from nats.aio.client import Client

from shared.nats_outlet import Outlet


class Transport:
    """Remembers what was written at once."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.error: Exception | None = None

    def write(self, payload: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.written.append(payload)


class FakeClient:
    def __init__(self) -> None:
        self.is_connected = True
        self.max_payload = 1000
        self._transport = Transport()


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


def outlet_of(client: FakeClient) -> Outlet:
    return Outlet(cast(Client, client))


async def test_what_is_ready_in_one_turn_of_the_loop_leaves_with_one_write(client: FakeClient) -> None:
    outlet = outlet_of(client)
    outlet.publish("call.c1.audio.in", b"\r\n")
    outlet.publish("call.c2.audio.in", b"")
    assert client._transport.written == []
    await asyncio.sleep(0)
    outlet.publish("call.c1.audio.in", b"next")
    outlet.flush()
    await asyncio.sleep(0)
    assert client._transport.written == [
        b"PUB call.c1.audio.in 2\r\n\r\n\r\nPUB call.c2.audio.in 0\r\n\r\n",
        b"PUB call.c1.audio.in 4\r\nnext\r\n",
    ]


async def test_nothing_is_kept_without_a_connection(client: FakeClient) -> None:
    outlet = outlet_of(client)
    client.is_connected = False
    outlet.publish("call.c1.audio.in", b"stale")
    await asyncio.sleep(0)
    client.is_connected = True
    outlet.publish("call.c1.audio.in", b"fresh")
    await asyncio.sleep(0)
    assert client._transport.written == [b"PUB call.c1.audio.in 5\r\nfresh\r\n"]


@pytest.mark.parametrize("error", [RuntimeError("the handler is closed"), ConnectionResetError()])
async def test_a_connection_that_breaks_takes_its_audio_with_it(client: FakeClient, error: Exception) -> None:
    outlet = outlet_of(client)
    client._transport.error = error
    outlet.publish("call.c1.audio.in", b"lost")
    outlet.flush()
    client._transport.error = None
    outlet.publish("call.c1.audio.in", b"fresh")
    outlet.flush()
    assert client._transport.written == [b"PUB call.c1.audio.in 5\r\nfresh\r\n"]


async def test_what_the_broker_would_hang_up_for_is_refused(client: FakeClient) -> None:
    outlet = outlet_of(client)
    with pytest.raises(nats.errors.MaxPayloadError):
        outlet.publish("call.c1.audio.in", bytes(1001))
    outlet.flush()
    assert client._transport.written == []
