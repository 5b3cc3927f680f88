"""The user `operator` backs the stream of events up, and puts it back into a broker that has lost everything.

What `nats stream backup` and `nats stream restore` do on the wire. Source: nats-server, `server/jetstream_api.go`, and
jsm.go, `SnapshotToDirectory` and `RestoreSnapshotFromDirectory`.
"""

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import nats.errors
import pytest
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from shared import nats_bus
from shared.stores import STREAM
from simulator.broker import Nodes
from simulator.plan import base_env
from simulator.process import Process

NODES = 3
EVENTS = 40
EVENT_BYTES = 8_000
CHUNK_BYTES = 32_768
WINDOW_BYTES = 65_536
"""So much is sent before the first acknowledgement: less than the backup has."""
READY_S = 30.0
STOP_S = 10.0
WAIT_S = 20.0

Kept = tuple[int, str, bytes, dict[str, str] | None, str]
"""A message of the stream: number, subject, body, headers, time."""


class Refusals:
    """What the broker refuses a client."""

    def __init__(self) -> None:
        self.all: list[str] = []

    async def note(self, error: Exception) -> None:
        if "permissions violation" in str(error).lower():
            self.all.append(str(error))


async def missing(nodes: Nodes) -> str:
    """What a broker that nobody has used yet lacks; "" when the operator is told about JetStream."""
    try:
        client = await connect(nodes, Refusals())
    except (OSError, TimeoutError, nats.errors.Error) as error:
        return repr(error)
    try:
        await client.jetstream(timeout=1).account_info()
    except (TimeoutError, nats.errors.Error) as error:
        return repr(error)
    finally:
        await client.close()
    return ""


@asynccontextmanager
async def broker(folder: Path) -> AsyncIterator[Nodes]:
    """Three nodes with empty disks, before any gateway has come."""
    nodes = Nodes(NODES, folder)
    async with AsyncExitStack() as stack:
        for index in range(NODES):
            process = Process("nats", index, nodes.command(index), {**base_env(), **nodes.server_env}, folder)
            await process.start()
            stack.push_async_callback(process.stop, STOP_S)
        await process.ready(lambda: missing(nodes), READY_S)
        yield nodes


async def connect(nodes: Nodes, refusals: Refusals) -> Client:
    """As the nats CLI does it: the operator, with inboxes of the usual name."""
    return await nats.connect(
        nodes.operators_url.split(","), error_cb=refusals.note, allow_reconnect=False, connect_timeout=1
    )


async def asked(client: Client, subject: str, body: Any) -> dict[str, Any]:
    """The API's answer to JSON."""
    message = await client.request(subject, json.dumps(body).encode(), timeout=WAIT_S)
    answer: dict[str, Any] = json.loads(message.data)
    return answer


async def back_up(client: Client) -> tuple[dict[str, Any], list[bytes]]:
    """Settings and state of the stream, and the chunks of its compressed files."""
    inbox = client.new_inbox()
    arriving = await client.subscribe(inbox)
    request = {
        "deliver_subject": inbox,
        "no_consumers": True,
        "chunk_size": CHUNK_BYTES,
        "window_size": WINDOW_BYTES,
    }
    answer = await asked(client, f"$JS.API.STREAM.SNAPSHOT.{STREAM}", request)
    assert "error" not in answer, answer
    chunks = []
    while (message := await arriving.next_msg(WAIT_S)).data:
        chunks.append(message.data)
        if message.reply:
            await message.respond(b"")
    # An empty one is the end, or tells why there is no more.
    assert (message.headers or {}).get("Status", "204") == "204", message.headers
    await arriving.unsubscribe()
    return {"config": answer["config"], "state": answer["state"]}, chunks


async def put_back(client: Client, told: dict[str, Any], chunks: list[bytes]) -> dict[str, Any]:
    """The broker's last word."""
    answer = await asked(client, f"$JS.API.STREAM.RESTORE.{STREAM}", told)
    if "error" in answer:
        return answer
    for chunk in chunks:
        accepted = await client.request(answer["deliver_subject"], chunk, timeout=WAIT_S)
        assert accepted.data == b"", accepted.data
    done = await client.request(answer["deliver_subject"], b"", timeout=WAIT_S)
    last: dict[str, Any] = json.loads(done.data)
    return last


async def kept(client: Client) -> list[Kept]:
    """Everything that the stream has."""
    stream = client.jetstream(timeout=WAIT_S)
    state = (await stream.stream_info(STREAM)).state
    messages = [await stream.get_msg(STREAM, number) for number in range(state.first_seq, state.last_seq + 1)]
    return [(each.seq or 0, each.subject or "", each.data or b"", each.headers, str(each.time)) for each in messages]


def settings(told: dict[str, Any]) -> dict[str, Any]:
    """Those of the stream, without what the server notes about itself."""
    return {key: value for key, value in told["config"].items() if key != "metadata"}


async def record(nodes: Nodes, bodies: list[bytes]) -> None:
    """A gateway comes, makes what is missing, and has events kept."""
    gateway = await nats_bus.connect(nodes.as_user("gateway"), "gateway")
    for number, body in enumerate(bodies):
        await gateway.record(f"call.c{number}.event.ended", body)
    await gateway.close()


@pytest.mark.asyncio
async def test_the_operator_saves_the_events_and_puts_them_back_after_all_was_lost(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    refusals = Refusals()
    async with broker(tmp_path_factory.mktemp("before")) as nodes:
        await record(nodes, [secrets.token_bytes(EVENT_BYTES) for _ in range(EVENTS)])
        client = await connect(nodes, refusals)
        before = await kept(client)
        told, chunks = await back_up(client)
        refused = await put_back(client, told, chunks)
        assert "already in use" in refused["error"]["description"]
        assert await kept(client) == before
        await client.close()
    assert len(before) == EVENTS
    assert sum(map(len, chunks)) > 2 * WINDOW_BYTES

    async with broker(tmp_path_factory.mktemp("after")) as nodes:
        client = await connect(nodes, refusals)
        with pytest.raises(NotFoundError):
            await kept(client)
        restored = await put_back(client, told, chunks)
        assert settings(restored) == settings(told)
        assert await kept(client) == before
        # The gateways come only then: they keep what they find, and go on behind it.
        await record(nodes, [b"{}"])
        after = await kept(client)
        assert after[:-1] == before
        assert after[-1][:3] == (EVENTS + 1, "call.c0.event.ended", b"{}")
        info = await client.jetstream(timeout=WAIT_S).stream_info(STREAM)
        assert info.cluster is not None
        assert len(info.cluster.replicas or ()) == NODES - 1
        await client.close()
    assert refusals.all == []
