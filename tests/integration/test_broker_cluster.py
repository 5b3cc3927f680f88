"""A broker of three nodes: one is lost, and nobody notices but in the log."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from nats.js.api import PubAck

from shared import nats_bus
from shared.bus import Bucket, WrongRevision
from shared.nats_bus import NatsBus
from simulator.plan import Plan
from simulator.ring import Ring

FRAME_S = 0.02


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ring(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ring]:
    async with Ring(Plan(counts={}, nodes=3), tmp_path_factory.mktemp("ring")) as ring:
        yield ring


class Work:
    """What goes on while a node is lost: writers of one key each, and a reader."""

    def __init__(self, bucket: Bucket) -> None:
        self.kept: dict[str, int] = {}
        """The last number that the broker said is kept, by key."""
        self.read = 0
        self.stopped = False
        self._bucket = bucket

    async def write(self, key: str) -> None:
        revision = await self._bucket.create(key, b"0")
        while not self.stopped:
            number = self.kept.get(key, 0) + 1
            # A write that was done twice, or told wrongly, would be a WrongRevision here.
            revision = await self._bucket.update(key, str(number).encode(), revision)
            self.kept[key] = number
            await asyncio.sleep(FRAME_S)

    async def look(self, key: str) -> None:
        while not self.stopped:
            entry = await self._bucket.get(key)
            assert entry is not None
            self.read = int(entry[0])
            await asyncio.sleep(FRAME_S)


class Ear:
    """Hears frames, and how long the longest silence was."""

    def __init__(self) -> None:
        self.frames = 0
        self.silence_s = 0.0
        self._at = asyncio.get_running_loop().time()

    def hear(self, subject: str, payload: bytes) -> None:
        now = asyncio.get_running_loop().time()
        self.silence_s, self._at = max(self.silence_s, now - self._at), now
        self.frames += 1


async def leader(bus: NatsBus, stream: str) -> int:
    info = await bus._stream.stream_info(stream)
    assert info.cluster is not None and info.cluster.leader is not None
    assert info.config.num_replicas == 3
    return int(info.cluster.leader.removeprefix("nats-"))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_killed_node_costs_nothing_that_was_kept(ring: Ring) -> None:
    gateway = await nats_bus.connect(ring.broker("gateway"), "gateway")
    stt = await nats_bus.connect(ring.broker("stt"), "stt")
    work, ear = Work(await gateway.bucket("calls", 60)), Ear()
    await stt.subscribe_audio("call.c1.audio.in", ear.hear)
    await stt.flush()

    async def talk() -> None:
        while not work.stopped:
            await gateway.publish_audio("call.c1.audio.in", bytes(160))
            await asyncio.sleep(FRAME_S)

    keys = [f"key-{number}" for number in range(4)]
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        for key in keys:
            tasks.create_task(work.write(key))
        while len(work.kept) < len(keys):
            await asyncio.sleep(FRAME_S)
        tasks.create_task(work.look(keys[0]))
        tasks.create_task(talk())
        while ear.frames < 10:
            await asyncio.sleep(FRAME_S)
        before, frames, ear.silence_s = dict(work.kept), ear.frames, 0.0
        lost = await leader(gateway, "KV_calls")
        await ring.kill("nats", lost)
        await gateway.record("call.c1.event.started", b"{}")
        # Those who wait for the election have one write under way that was asked for before it.
        while min(work.kept[key] - before[key] for key in keys) < 10 or ear.frames < frames + 50:
            await asyncio.sleep(FRAME_S)
        work.stopped = True
    for key in keys:
        entry = await work._bucket.get(key)
        assert entry is not None and int(entry[0]) == work.kept[key]
    assert sorted(await work._bucket.keys()) == keys
    assert ear.silence_s < 0.5
    await ring.restart("nats", lost)
    await gateway.close()
    await stt.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_write_whose_answer_was_lost_is_done_once(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    bus = await nats_bus.connect(ring.broker("gateway"), "gateway")
    bucket, publish, asked = await bus.bucket("calls", 60), bus._stream.publish, []

    async def lose_the_first(subject: str, payload: bytes, headers: dict[str, str]) -> PubAck:
        asked.append(subject)
        answer = await publish(subject, payload, headers=headers)
        if len(asked) == 1:
            raise TimeoutError
        return answer

    monkeypatch.setattr(bus._stream, "publish", lose_the_first)
    revision = await bucket.create("answer", b"1")
    assert len(asked) == 2
    asked.clear()
    newer = await bucket.update("answer", b"2", revision)
    assert (len(asked), await bucket.get("answer")) == (2, (b"2", newer))
    with pytest.raises(WrongRevision):
        await bucket.update("answer", b"3", revision)

    asked.clear()
    heard: list[bytes] = []

    async def hear(subject: str, payload: bytes) -> None:
        heard.append(payload)

    await bus.subscribe("call.c2.event.>", hear)
    await bus.record("call.c2.event.started", b"{}")
    await bus.flush()
    assert (len(asked), heard) == (2, [b"{}"])
    info = await bus._stream.stream_info("CALLS", subjects_filter="call.c2.event.>")
    assert info.state.subjects == {"call.c2.event.started": 1}
    await bus.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_server_that_refuses_by_old_knowledge_is_not_believed(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = await nats_bus.connect(ring.broker("gateway"), "gateway")
    bucket, publish, asked = await bus.bucket("calls", 60), bus._stream.publish, []
    revision = await bucket.create("old", b"1")

    async def refused(subject: str, payload: bytes, headers: dict[str, str]) -> PubAck:
        asked.append(subject)
        if len(asked) == 1:
            headers = {**headers, "Nats-Expected-Last-Subject-Sequence": str(revision - 1), "Nats-Msg-Id": "other"}
        return await publish(subject, payload, headers=headers)

    monkeypatch.setattr(bus._stream, "publish", refused)
    newer = await bucket.update("old", b"2", revision)
    assert (len(asked), await bucket.get("old")) == (2, (b"2", newer))
    await bus.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_lost_connection_is_one_gap(ring: Ring) -> None:
    bus = await nats_bus.connect(ring.broker("stt"), "stt")
    assert bus.gaps == 0
    found = asyncio.Event()

    async def hear(subject: str, payload: bytes) -> None:
        found.set()

    await bus.subscribe("call.c3.turns", hear)
    operator = await nats_bus.connect(ring.nats_url, "people")
    await bus._control.force_reconnect()
    await bus._audio.force_reconnect()
    async with asyncio.timeout(10):
        while bus.gaps == 0 or not bus.connected:
            await asyncio.sleep(FRAME_S)
    assert bus.gaps == 1
    await bus.flush()
    await operator.publish("call.c3.turns", json.dumps({}).encode())
    await asyncio.wait_for(found.wait(), 5)
    await operator.close()
    await bus.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_node_that_hangs_is_left(ring: Ring) -> None:
    bus = await nats_bus.connect(ring.broker("gateway"), "gateway")
    url = bus._control.connected_url
    assert url is not None
    index = ring.broker("gateway").urls.split(",").index(f"nats://{url.netloc}")
    ring.pause("nats", index)
    async with asyncio.timeout(15):
        while bus._control.stats["reconnects"] == 0 or not bus.connected:
            await asyncio.sleep(FRAME_S)
        assert await (await bus.bucket("calls", 60)).get("nobody") is None
    ring.resume("nats", index)
    assert ring.find("nats", index).running
    await bus.close()
