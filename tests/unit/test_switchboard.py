"""The switchboard: ringing, leasing, connecting, ending."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.gateway import endings, switchboard
from services.gateway.calls import BUCKET, TTL_S, CallRecord, CallStore
from services.gateway.departure import leave
from services.gateway.leases import LeaseDesk
from services.gateway.switchboard import Connect, Full, Over, Switchboard, TurnAway
from shared.agents import AgentsFile
from shared.bus import Disconnected
from shared.memory_bus import MemoryBus
from shared.messages import CallEnded
from shared.messages.worker import Heartbeat
from shared.roster import Roster
from shared.stage import StageWorker
from tests.fakes import ROOT, FakeMedia, FakeStage, Heard


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Exchange:
    """A switchboard and one worker of each stage."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.time = Time()
        self.roster = Roster(self.time)
        self.stages = {name: FakeStage(name) for name in ("stt", "llm", "tts", "speech")}
        self.workers = {
            name: StageWorker(self.bus, stage, f"{name}-1", 2, Roster()) for name, stage in self.stages.items()
        }
        self.store: CallStore
        self.switchboard: Switchboard

    async def start(self) -> None:
        self.store = await CallStore.open(self.bus)
        self.limit(3600)
        for name, worker in self.workers.items():
            await worker.start()
            self.beat(name)

    def limit(self, max_call_s: float) -> None:
        agents = AgentsFile(Path(ROOT / "agents.yaml"))
        desk = LeaseDesk(self.bus, "gw-1", 1.0, self.roster)
        self.switchboard = Switchboard(self.bus, self.store, desk, self.roster, agents, "gw-1", b"\xff", max_call_s)

    def beat(self, stage: str) -> None:
        draining = self.workers[stage].draining
        self.roster.note(
            Heartbeat(stage=stage, worker=f"{stage}-1", calls=0, capacity=2, draining=draining, loop_lag_ms=0)
        )

    def held(self) -> dict[str, int]:
        return {name: worker.calls for name, worker in self.workers.items() if worker.calls}

    async def until_held(self, held: dict[str, int]) -> None:
        async with asyncio.timeout(5):
            while self.held() != held:
                await asyncio.sleep(0)


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[Exchange]:
    made = Exchange()
    await made.start()
    yield made
    for worker in made.workers.values():
        await worker.drain(0)


async def ring(exchange: Exchange, call_id: str = "c1", dialled: str = "+15550100") -> Connect:
    answer = await exchange.switchboard.answer(call_id, "+4912345", dialled)
    assert isinstance(answer, Connect)
    return answer


async def test_a_ringing_call_is_leased_to_the_agents_stages(exchange: Exchange) -> None:
    assert (await ring(exchange)).agent == "bella"
    assert exchange.held() == {"stt": 1, "llm": 1, "tts": 1}


async def test_the_dialled_number_picks_the_agent(exchange: Exchange) -> None:
    assert (await ring(exchange, dialled="+15550199")).agent == "echo"
    assert exchange.held() == {"speech": 1}


async def test_an_unknown_number_gets_the_default_agent(exchange: Exchange) -> None:
    assert (await ring(exchange, dialled="+999")).agent == "bella"


async def test_without_a_stage_the_caller_is_turned_away_and_the_others_are_released(exchange: Exchange) -> None:
    await exchange.workers["llm"].drain(0)
    exchange.beat("llm")
    heard = await Heard.on(exchange.bus, "c1")
    assert await exchange.switchboard.answer("c1", "", "+15550100") == TurnAway()
    assert (await heard.wait_for(CallEnded)).reason == "stage_missing"
    await exchange.until_held({})


async def test_a_full_system_keeps_nothing_of_the_next_call(exchange: Exchange) -> None:
    await ring(exchange, "c1")
    await ring(exchange, "c2")
    heard = await Heard.on(exchange.bus, "c3")
    assert await exchange.switchboard.answer("c3", "", "+15550100") == Full()
    assert exchange.held() == {"stt": 2, "llm": 2, "tts": 2}
    assert await exchange.store.get("c3") is None
    await exchange.switchboard.endings.end("c1", "caller_hung_up")
    await exchange.until_held({"stt": 1, "llm": 1, "tts": 1})
    await ring(exchange, "c3")
    assert not any(isinstance(message, CallEnded) for message in heard.messages)


async def test_a_stage_that_refuses_turns_the_caller_away(exchange: Exchange) -> None:
    exchange.stages["tts"].refuse = "no such voice"
    assert await exchange.switchboard.answer("c1", "", "+15550100") == TurnAway()
    await exchange.until_held({})


async def test_a_token_opens_one_line_once(exchange: Exchange) -> None:
    token = (await ring(exchange)).token
    assert await exchange.switchboard.connect("c1", "wrong", FakeMedia()) is None
    assert await exchange.switchboard.connect("c2", token, FakeMedia()) is None
    assert await exchange.switchboard.connect("c1", token, media := FakeMedia()) is not None
    assert await exchange.switchboard.connect("c1", token, FakeMedia()) is None
    assert media.closed is None


async def test_a_newer_token_makes_the_older_one_void(exchange: Exchange) -> None:
    older = (await ring(exchange)).token
    newer = (await ring(exchange)).token
    assert await exchange.switchboard.connect("c1", older, FakeMedia()) is None
    assert await exchange.switchboard.connect("c1", newer, FakeMedia()) is not None


async def test_asking_again_keeps_the_leases(exchange: Exchange) -> None:
    await ring(exchange)
    session = exchange.stages["stt"].sessions["c1"]
    await ring(exchange)
    assert exchange.stages["stt"].sessions["c1"] is session
    assert not session.closed.is_set()


async def test_when_the_caller_hangs_up_every_stage_lets_go(exchange: Exchange) -> None:
    token, media = (await ring(exchange)).token, FakeMedia()
    line = await exchange.switchboard.connect("c1", token, media)
    assert line
    media.hang_up()
    assert await exchange.switchboard.carry(line) == "caller_hung_up"
    await exchange.until_held({})
    assert not exchange.switchboard.lines
    assert await exchange.switchboard.answer("c1", "", "+15550100") == Over()


async def test_a_second_socket_takes_the_call_over(exchange: Exchange) -> None:
    line = await exchange.switchboard.connect("c1", (await ring(exchange)).token, first := FakeMedia())
    assert line
    carrying = asyncio.create_task(exchange.switchboard.carry(line))
    second = await exchange.switchboard.connect("c1", (await ring(exchange)).token, FakeMedia())
    assert await asyncio.wait_for(carrying, 5) == "taken_over"
    assert first.closed == "taken_over"
    assert exchange.switchboard.lines.all() == [second]
    assert exchange.held() == {"stt": 1, "llm": 1, "tts": 1}


async def test_a_broken_socket_keeps_the_call_for_a_redial(exchange: Exchange) -> None:
    line = await exchange.switchboard.connect("c1", (await ring(exchange)).token, media := FakeMedia())
    assert line
    media.drop()
    assert await exchange.switchboard.carry(line) == "carrier_lost"
    assert exchange.held() == {"stt": 1, "llm": 1, "tts": 1}
    assert await exchange.switchboard.connect("c1", (await ring(exchange)).token, FakeMedia()) is not None


@pytest.mark.parametrize(("setting", "of_the_agent"), [(0.01, 3600), (3600, 1)])
async def test_a_call_ends_at_the_shorter_of_its_two_limits(
    exchange: Exchange, setting: float, of_the_agent: float
) -> None:
    def limited(record: CallRecord) -> CallRecord:
        return record.model_copy(update={"profile": record.profile.model_copy(update={"max_call_s": of_the_agent})})

    exchange.limit(setting)
    token = (await ring(exchange)).token
    await exchange.store.change("c1", limited)
    line = await exchange.switchboard.connect("c1", token, media := FakeMedia())
    assert line
    assert await asyncio.wait_for(exchange.switchboard.carry(line), 5) == "max_duration"
    assert media.closed == "max_duration"
    await exchange.until_held({})


async def test_a_draining_gateway_answers_no_new_call(exchange: Exchange) -> None:
    await leave(exchange.switchboard, 0)
    assert await exchange.switchboard.answer("c1", "", "+15550100") == TurnAway()


async def test_a_draining_gateway_sends_callers_on_to_the_others(exchange: Exchange) -> None:
    other = Heartbeat(stage="gateway", worker="gw-2", calls=0, capacity=0, draining=False, loop_lag_ms=0)
    exchange.roster.note(other)
    await leave(exchange.switchboard, 0)
    await ring(exchange)
    exchange.roster.note(other.model_copy(update={"draining": True}))
    assert await exchange.switchboard.answer("c2", "", "+15550100") == TurnAway()


async def test_a_call_that_a_draining_gateway_has_closed_is_answered_again(exchange: Exchange) -> None:
    line = await exchange.switchboard.connect("c1", (await ring(exchange)).token, media := FakeMedia())
    assert line
    carrying = asyncio.create_task(exchange.switchboard.carry(line))
    await leave(exchange.switchboard, 0)
    assert await carrying == "drained"
    assert media.closed == "drained"
    assert await exchange.switchboard.connect("c1", (await ring(exchange)).token, FakeMedia())


async def test_without_a_broker_a_call_fails_at_once(exchange: Exchange) -> None:
    exchange.bus.connected = False
    with pytest.raises(Disconnected):
        await exchange.switchboard.answer("c1", "", "+15550100")
    exchange.bus.connected = True


@pytest.mark.parametrize("broken", ["store", "event"])
async def test_a_call_that_ends_while_the_broker_is_away_ends_when_it_is_back(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.setattr(endings, "RETRY_S", 0)
    tries = 0

    async def away(*arguments: object) -> None:
        nonlocal tries
        tries += 1
        if tries == 3:
            back.undo()
        raise Disconnected("away")

    line = await exchange.switchboard.connect("c1", (await ring(exchange)).token, media := FakeMedia())
    assert line
    media.hang_up()
    with monkeypatch.context() as back:
        if broken == "store":
            back.setattr(exchange.store, "change", away)
        else:
            back.setattr(exchange.bus, "record", away)
        assert await exchange.switchboard.carry(line) == "caller_hung_up"
        assert not exchange.switchboard.lines
        await exchange.until_held({})
    assert tries == 3


async def touched(exchange: Exchange, *, over_s: float, until: set[str]) -> set[str]:
    """The calls among c1 and c2 whose records were touched when those of `until` were."""
    bucket = await exchange.bus.bucket(BUCKET, TTL_S)

    async def revisions() -> dict[str, int]:
        return {call_id: entry[1] for call_id in ("c1", "c2") if (entry := await bucket.get(call_id))}

    found: set[str] = set()
    for call_id in ("c1", "c2"):
        await exchange.switchboard.connect(call_id, (await ring(exchange, call_id)).token, FakeMedia())
    before = await revisions()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(switchboard, "_TOUCH_OVER_S", over_s)
        exchange.switchboard.keep_alive()
        async with asyncio.timeout(5):
            while not until <= found:
                await asyncio.sleep(0)
                found = {call_id for call_id, revision in (await revisions()).items() if revision > before[call_id]}
    exchange.switchboard.endings.stop()
    return found


async def test_the_records_of_open_lines_are_kept_alive(exchange: Exchange) -> None:
    assert await touched(exchange, over_s=0, until={"c1", "c2"}) == {"c1", "c2"}


async def test_the_records_are_not_touched_all_at_once(exchange: Exchange) -> None:
    assert await touched(exchange, over_s=3600, until={"c1"}) == {"c1"}
