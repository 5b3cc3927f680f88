"""What each user of `broker/nats.conf` may do, asked of a real nats-server."""

from collections.abc import AsyncIterator, Iterable

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from broker.users import USERS
from shared import nats_bus, nats_retry, subjects
from shared.agents import STAGES
from shared.bus import Disconnected
from shared.messages import MESSAGES
from shared.nats_bus import NatsBus
from simulator.plan import Plan
from simulator.ring import Ring

SERVICES = [user for user in USERS if user != "operator"]
STAGE_USERS = sorted({stage for stages in STAGES.values() for stage in stages})
AUDIO = {"audio.in": (("gateway",), ("stt", "speech")), "audio.out": (("tts", "speech"), ("gateway", "stt"))}

Attempt = tuple[str, str, str]
"""User, `publish` or `subscription`, subject."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ring(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ring]:
    async with Ring(Plan(counts={}), tmp_path_factory.mktemp("ring")) as ring:
        yield ring


def _users(names: Iterable[str], everybody: Iterable[str]) -> set[str]:
    text = " ".join(names)
    found = {user for user in USERS if user in text.replace(",", " ").split()}
    return found | (set(everybody) if "all stages" in text else set()) | ({"operator"} if "anyone" in text else set())


def documented() -> list[Attempt]:
    """What the messages say of their senders and receivers."""
    attempts = []
    for suffix, kind in MESSAGES.items():
        attempts += [(user, "publish", f"call.c1.{suffix}") for user in _users(kind.sender, ())]
        attempts += [(user, "subscription", f"call.c1.{suffix}") for user in _users((kind.receiver,), STAGE_USERS)]
    for suffix, (senders, receivers) in AUDIO.items():
        attempts += [(user, "publish", f"call.c1.{suffix}") for user in senders]
        attempts += [(user, "subscription", f"call.c1.{suffix}") for user in receivers]
    return attempts


def of_workers() -> list[Attempt]:
    """What every worker does besides."""
    attempts = [("gateway", "subscription", subjects.HEARTBEATS)]
    attempts += [(stage, "subscription", subjects.heartbeat("gateway", "*")) for stage in STAGE_USERS]
    # What the gateway sends again to a worker that takes over follows what was understood already.
    heard = ("speech.started", "speech.final", "turns")
    attempts += [("gateway", "subscription", f"call.c1.{suffix}") for suffix in heard]
    for stage in STAGE_USERS:
        own = (subjects.lease(stage), subjects.lease_of(stage, "w1"), subjects.knock(stage, "w1"))
        attempts += [(stage, "subscription", subject) for subject in own]
        attempts += [("gateway", "publish", subject) for subject in own]
        attempts.append((stage, "publish", subjects.heartbeat(stage, "w1")))
    return [*attempts, ("gateway", "publish", subjects.heartbeat("gateway", "g1"))]


FORBIDDEN: list[Attempt] = [
    # The dialogue's owner cannot listen in on people, nor anybody on everything.
    ("llm", "subscription", "call.c1.audio.in"),
    ("llm", "subscription", "call.c1.audio.out"),
    ("llm", "subscription", "call.c1.audio.*"),
    ("llm", "subscription", "call.>"),
    ("tts", "subscription", "call.c1.audio.in"),
    ("tts", "subscription", "call.c1.speech.final"),
    *((user, "subscription", ">") for user in USERS),
    # Only the gateway takes calls, ends them, and speaks for the line.
    *((stage, "publish", f"lease.{other}") for stage in STAGE_USERS for other in STAGE_USERS),
    *((stage, "publish", f"lease.{other}.w1") for stage in STAGE_USERS for other in STAGE_USERS),
    *((stage, "publish", f"call.c1.{suffix}") for stage in STAGE_USERS for suffix in ("takeover", "playback", "digit")),
    *((stage, "publish", f"call.c1.event.{name}") for stage in STAGE_USERS for name in ("started", "lease", "ended")),
    *((stage, "publish", "call.c1.audio.in") for stage in STAGE_USERS),
    *((stage, "publish", "$KV.calls.c1") for stage in STAGE_USERS),
    ("operator", "publish", "lease.stt"),
    ("operator", "publish", "call.c1.control"),
    ("operator", "publish", "$KV.calls.c1"),
    # No stage passes for another.
    ("stt", "subscription", "lease.llm"),
    ("stt", "subscription", "lease.*"),
    ("stt", "subscription", "knock.llm.w1"),
    ("llm", "publish", "worker.stt.x"),
    ("stt", "publish", "worker.gateway.g1"),
    ("stt", "publish", "call.c1.reply.text"),
    ("stt", "publish", "call.c1.transcript.caller"),
    ("tts", "publish", "call.c1.speech.final"),
    ("gateway", "publish", "call.c1.transcript.caller"),
    # Memory is the llm's, greetings are the tts's.
    ("tts", "publish", "$KV.dialogues.c1"),
    ("gateway", "publish", "$KV.dialogues.c1"),
    ("stt", "publish", "$JS.API.STREAM.MSG.GET.KV_dialogues"),
    ("llm", "publish", "$JS.API.DIRECT.GET.KV_calls.$KV.calls.c1"),
    ("llm", "publish", "$O.greetings.C.x"),
    # A stream or a consumer of one's own would be a way round all this.
    *((stage, "publish", "$JS.API.STREAM.CREATE.KV_breakers") for stage in STAGE_USERS),
    *((stage, "publish", "$JS.API.STREAM.UPDATE.KV_breakers") for stage in (*STAGE_USERS, "operator")),
    *((stage, "publish", "$JS.API.CONSUMER.CREATE.KV_breakers.c.$KV.breakers.>") for stage in STAGE_USERS),
    *((user, "publish", "$JS.API.STREAM.DELETE.CALLS") for user in USERS),
    # A backup is all that was said of the calls; what is put back may keep any subject. People do it, with CALLS alone.
    *((user, "publish", f"$JS.API.STREAM.{verb}.CALLS") for user in SERVICES for verb in ("SNAPSHOT", "RESTORE")),
    ("operator", "publish", "$JS.API.STREAM.SNAPSHOT.KV_dialogues"),
    ("operator", "publish", "$JS.API.STREAM.RESTORE.SPY"),
    ("operator", "publish", "$JS.SNAPSHOT.RESTORE.SPY.x"),
    *((user, "publish", "$JS.API.STREAM.PURGE.KV_breakers") for user in USERS),
    # Answers are heard by those who asked.
    ("stt", "subscription", "_INBOX.>"),
    ("stt", "subscription", "_INBOX_gateway.>"),
    ("llm", "publish", "_INBOX_gateway.x.y"),
]


async def refused(ring: Ring, attempts: Iterable[Attempt]) -> set[Attempt]:
    """Which of them the broker refuses."""

    async def ignore(subject: str, payload: bytes) -> None:
        return None

    found = set()
    attempts = list(attempts)
    for user in USERS:
        bus = await nats_bus.connect(ring.broker(user), "test")
        for attempt in [attempt for attempt in attempts if attempt[0] == user]:
            _, action, subject = attempt
            with capture_logs() as logs:
                if action == "publish":
                    await bus.publish(subject, b"{}")
                else:
                    await bus.subscribe(subject, ignore)
                await bus.flush()
            denied = [entry for entry in logs if entry["event"] == "bus_permission_denied"]
            assert all(entry["action"] == action for entry in denied)
            if denied:
                found.add(attempt)
        await bus.close()
    return found


@pytest.mark.asyncio(loop_scope="module")
async def test_each_message_may_be_said_by_its_senders_and_heard_by_its_receivers(ring: Ring) -> None:
    attempts = [*documented(), *of_workers()]
    assert {user for user, *_ in attempts} == set(USERS)
    assert await refused(ring, attempts) == set()


@pytest.mark.asyncio(loop_scope="module")
async def test_what_no_service_needs_is_refused(ring: Ring) -> None:
    assert set(FORBIDDEN) - await refused(ring, FORBIDDEN) == set()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_refusal_is_told_once_and_hangs_nobody(ring: Ring) -> None:
    bus = await nats_bus.connect(ring.broker("llm"), "test")

    async def ignore(subject: str, payload: bytes) -> None:
        return None

    with capture_logs() as logs:
        for call_id in ("CA1", "CA2", "CA2"):
            await bus.subscribe(f"call.{call_id}.audio.in", ignore)
        await bus.flush()
    await bus.close()
    assert [entry for entry in logs if entry["event"] == "bus_permission_denied"] == [
        {
            "event": "bus_permission_denied",
            "log_level": "error",
            "action": "subscription",
            "subject": "call.*.audio.in",
        }
    ]


async def use_stores(bus: NatsBus, user: str) -> None:
    """Everything that the user does with what the broker keeps."""
    for name in {"gateway": ("calls", "waiting", "breakers"), "llm": ("dialogues", "breakers")}.get(
        user, ("breakers",)
    ):
        bucket, key = await bus.bucket(name, 60), f"{user}-key"
        revision = await bucket.create(key, b"1")
        assert await bucket.update(key, b"2", revision) > revision
        assert await bucket.get(key) is not None
        assert key in await bucket.keys()
        await bucket.delete(key)
        assert await bucket.get(key) is None
    if user == "tts":
        store = await bus.objects("greetings", 60)
        for value in (b"1" * 300_000, b"2"):
            await store.put("key", value)
            assert await store.get("key") == value


@pytest.mark.asyncio(loop_scope="module")
async def test_each_service_can_do_its_work(ring: Ring) -> None:
    gateway = await nats_bus.connect(ring.broker("gateway"), "gateway")
    heard: list[str] = []

    async def hear(subject: str, payload: bytes) -> None:
        heard.append(subject)

    async def answer(payload: bytes) -> bytes:
        return payload

    with capture_logs() as logs:
        for user in ("gateway", *STAGE_USERS):
            bus = await nats_bus.connect(ring.broker(user), user)
            await bus.subscribe("$KV.breakers.>", hear)
            await use_stores(bus, user)
            await bus.flush()
            assert f"$KV.breakers.{user}-key" in heard
            await bus.record("call.c1.event.error", b"{}")
            if user != "gateway":
                for subject in (subjects.lease(user), subjects.lease_of(user, "w1"), subjects.knock(user, "w1")):
                    await bus.respond(subject, answer, queue=user)
                    await bus.flush()
                    assert await gateway.request(subject, b"you?", 5) == b"you?"
            await bus.close()
        await gateway.respond(subjects.LIVE_CALLS, answer, queue="gateway")
        await gateway.flush()
        operator = await nats_bus.connect(ring.broker("operator"), "people")
        assert await operator.request(subjects.LIVE_CALLS, b"", 5) == b""
        assert await operator._stream.get_last_msg("CALLS", "call.c1.event.error")
    await operator.close()
    await gateway.close()
    assert [entry for entry in logs if entry["event"] == "bus_permission_denied"] == []


@pytest.mark.asyncio(loop_scope="module")
async def test_a_worker_makes_no_store_that_is_missing(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_retry, "TOTAL_S", 0.1)
    bus = await nats_bus.connect(ring.broker("stt"), "test")
    with pytest.raises(Disconnected):
        await bus.bucket("anything", 60)
    await bus.close()
