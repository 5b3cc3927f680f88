"""Who gets into the broker, and that no secret is told on the way."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
import trustme
from structlog.testing import capture_logs

from shared import nats_bus
from shared.nats_connection import Broker, WrongTlsFiles
from simulator.broker import Nodes
from simulator.plan import Plan, base_env
from simulator.process import Process
from simulator.ring import Ring


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ring(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ring]:
    async with Ring(Plan(counts={}), tmp_path_factory.mktemp("ring")) as ring:
        yield ring


class GivenUp(Exception):
    pass


async def reason_of(broker: Broker) -> str:
    """Why there is no connection."""

    async def give_up(reason: str) -> None:
        raise GivenUp(reason)

    with pytest.raises(GivenUp) as given_up:
        await nats_bus.connect(broker, "test", give_up)
    return str(given_up.value)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("user", ["", "nobody", "stt"])
async def test_who_is_nobody_stays_outside_and_no_password_is_told(ring: Ring, user: str) -> None:
    known = f"{user}:not-the-password@" if user else ""
    with capture_logs() as logs:
        reason = await reason_of(Broker.at(ring.broker("stt").urls.replace("//", f"//{known}")))
    assert "Authorization Violation" in reason or "are NATS_USER and NATS_PASSWORD right?" in reason
    assert "not-the-password" not in f"{reason}{logs}"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_password_is_not_told_to_a_server_without_tls(ring: Ring, certificates: Path) -> None:
    broker = replace(ring.broker("stt"), ca_file=certificates / "ca.pem")
    assert await reason_of(broker) == "the broker offers no TLS"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and a certificate of it for this machine's loopback address."""
    folder, authority = tmp_path_factory.mktemp("certificates"), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "nats.pem")
    certificate.private_key_pem.write_to_path(folder / "nats.key")
    return folder


async def test_over_tls_workers_wait_for_the_gateway_that_makes_the_stores(certificates: Path, tmp_path: Path) -> None:
    nodes = Nodes(1, tmp_path)
    tls = ["--tls", "--tlscert", str(certificates / "nats.pem"), "--tlskey", str(certificates / "nats.key")]
    process = Process("nats", 0, [*nodes.command(0), *tls], {**base_env(), **nodes.server_env}, tmp_path)
    await process.start()
    try:
        await process.ready(lambda: nodes.missing_of(0), 10)
        ca_file = certificates / "ca.pem"
        gateway, stt = (replace(nodes.as_user(user), ca_file=ca_file) for user in ("gateway", "stt"))
        assert "CERTIFICATE_VERIFY_FAILED" in await reason_of(
            replace(stt, ca_file=None, urls=stt.urls.replace("nats", "tls"))
        )
        assert await reason_of(stt) == "no CALLS at the broker: it is there as soon as a gateway has started"
        for broker in (gateway, stt):
            bus = await nats_bus.connect(broker, "test")
            assert await (await bus.bucket("breakers", 60)).keys() == []
            await bus.close()
    finally:
        await process.stop(10)


async def test_what_is_said_while_the_only_server_is_away_is_kept_or_dropped_as_it_deserves(tmp_path: Path) -> None:
    async with Ring(Plan(counts={}), tmp_path) as ring:
        gateway, stt = [await nats_bus.connect(ring.broker(user), user) for user in ("gateway", "stt")]
        heard: list[tuple[str, bytes]] = []

        async def hear(subject: str, payload: bytes) -> None:
            heard.append((subject, payload))

        await stt.subscribe_audio("call.c1.audio.in", lambda *frame: heard.append(frame))
        await stt.subscribe("call.c1.playback", hear)
        bucket = await gateway.bucket("calls", 60)
        await ring.kill("nats")
        async with asyncio.timeout(10):
            while gateway._control.is_connected or gateway._audio.is_connected:
                await asyncio.sleep(0.01)
            writing = asyncio.create_task(bucket.create("c1", b"kept"))
            await gateway.publish_audio("call.c1.audio.in", b"stale")
            await ring.restart("nats")
            revision = await writing
            while not (gateway.connected and stt.connected):
                await asyncio.sleep(0.01)
        assert await bucket.get("c1") == (b"kept", revision)
        await stt.flush()
        await gateway.publish_audio("call.c1.audio.in", b"fresh")
        await gateway.publish("call.c1.playback", b"{}")
        for bus in (gateway, stt):
            await bus.flush()
        assert sorted(heard) == [("call.c1.audio.in", b"fresh"), ("call.c1.playback", b"{}")]
        assert (gateway.gaps, stt.gaps) == (1, 1)
        await gateway.close()
        await stt.close()


def test_a_user_may_be_in_the_url_or_in_the_settings() -> None:
    broker = Broker.at("nats://stt:s%40fe@one:4222,nats://stt:s%40fe@two:4222")
    assert (broker.urls, broker.user, broker.inbox) == ("nats://one:4222,nats://two:4222", "stt", "_INBOX_stt")
    assert broker.password.get_secret_value() == "s@fe"
    assert "s@fe" not in repr(broker)
    assert Broker.at("nats://one:4222") == Broker("nats://one:4222")


def test_tls_files_that_cannot_be_used_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(WrongTlsFiles, match="NATS_CA_FILE"):
        Broker("nats://one:4222", ca_file=tmp_path / "none.pem").tls()
    assert Broker("nats://one:4222").tls() is None
    assert Broker("tls://one:4222").tls() is not None


async def test_a_process_that_stops_while_the_broker_is_away_stops_in_order(tmp_path: Path) -> None:
    async with Ring(Plan(counts={}), tmp_path) as ring:
        bus = await nats_bus.connect(ring.broker("gateway"), "leaver")
        await ring.kill("nats")
        async with asyncio.timeout(5):
            while bus.connected:
                await asyncio.sleep(0.01)
            await bus.close()
