"""How a gateway leaves its calls to the others."""

import asyncio
from dataclasses import dataclass, field

import pytest

from services.gateway import departure
from services.gateway.departure import QUIET_WITHIN_S, SILENT_WITHIN_S, Surroundings, hand_over, leave


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeLine:
    lines: "FakeLines"
    silent: bool = True
    closed: float | None = None
    keeps_socket: bool = False
    caller_silent: bool = False
    """The caller does not speak, whatever the agent does."""

    @property
    def line(self) -> "FakeLine":
        return self

    def quiet(self, stage: str) -> bool:
        return self.silent or (stage == "stt" and self.caller_silent)

    def close(self, end: str) -> None:
        assert end == "drained"
        assert self.closed is None
        self.closed = self.lines.time.now
        if not self.keeps_socket:
            asyncio.get_running_loop().call_soon(self.lines.remove, self)


class FakeLines:
    """Open lines; each look at them is a tick of the clock."""

    def __init__(self, time: Time) -> None:
        self.time = time
        self.open: list[FakeLine] = []
        self.idle = asyncio.Event()
        self.tick_s = 0.05

    def add(self, count: int, silent: bool = True, keeps_socket: bool = False) -> list[FakeLine]:
        added = [FakeLine(self, silent, None, keeps_socket) for _ in range(count)]
        self.open += added
        return added

    def __len__(self) -> int:
        return len(self.open)

    def all(self) -> list[FakeLine]:
        self.time.now += self.tick_s
        return list(self.open)

    def remove(self, line: FakeLine) -> None:
        self.open.remove(line)
        if not self.open:
            self.idle.set()


@dataclass
class FakeEndings:
    stopped: bool = False

    def stop(self) -> None:
        self.stopped = True


@dataclass
class FakeSwitchboard:
    lines: FakeLines
    endings: FakeEndings = field(default_factory=FakeEndings)
    draining: bool = False


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> FakeLines:
    monkeypatch.setattr(departure, "_TICK_S", 0)
    monkeypatch.setattr(departure, "_LOOK_EVERY_S", 0)
    return FakeLines(Time())


async def test_a_line_closes_at_a_quiet_moment(lines: FakeLines) -> None:
    [calm], [busy] = lines.add(1), lines.add(1, silent=False)
    leaving = asyncio.create_task(hand_over(lines, QUIET_WITHIN_S, lines.time))
    while calm.closed is None or lines.time.now < 1:
        await asyncio.sleep(0)
    assert busy.closed is None
    busy.silent = True
    await asyncio.wait_for(leaving, 5)
    assert calm.closed < 0.1
    assert busy.closed is not None
    assert busy.closed < 1.5


async def test_a_line_that_is_never_quiet_closes_all_the_same(lines: FakeLines) -> None:
    [busy] = lines.add(1, silent=False)
    await asyncio.wait_for(hand_over(lines, QUIET_WITHIN_S, lines.time), 5)
    assert busy.closed == pytest.approx(QUIET_WITHIN_S + SILENT_WITHIN_S, abs=0.1)


async def test_an_agent_that_never_stops_is_cut_before_a_caller_is(lines: FakeLines) -> None:
    [talkative], [listening] = lines.add(1, silent=False), lines.add(1, silent=False)
    listening.caller_silent = True
    await asyncio.wait_for(hand_over(lines, QUIET_WITHIN_S, lines.time), 5)
    assert listening.closed == pytest.approx(QUIET_WITHIN_S, abs=0.1)
    assert talkative.closed == pytest.approx(QUIET_WITHIN_S + SILENT_WITHIN_S, abs=0.1)


async def test_many_lines_do_not_close_at_once(lines: FakeLines) -> None:
    many = lines.add(300)
    await asyncio.wait_for(hand_over(lines, QUIET_WITHIN_S, lines.time), 5)
    at = [line.closed for line in many if line.closed is not None]
    assert len(at) == 300
    assert max(at.count(moment) for moment in at) <= 10
    assert max(at) < 2


async def test_a_carrier_that_keeps_its_socket_does_not_keep_the_gateway(lines: FakeLines) -> None:
    [stuck] = lines.add(1, keeps_socket=True)
    await asyncio.wait_for(hand_over(lines, QUIET_WITHIN_S, lines.time), 5)
    assert stuck.closed is not None
    assert lines.time.now < QUIET_WITHIN_S + SILENT_WITHIN_S + 6


async def test_with_another_gateway_it_stops_listening_before_the_first_line_closes(lines: FakeLines) -> None:
    [line] = lines.add(1)
    switchboard = FakeSwitchboard(lines)
    heard: list[object] = []

    async def tell() -> None:
        heard.append(("told", switchboard.draining))

    around = Surroundings(lambda: True, lambda: heard.append(("deaf", line.closed)), tell, lines.time)
    await asyncio.wait_for(leave(switchboard, 20, around), 5)
    assert heard == [("told", True), ("deaf", None)]
    assert line.closed is not None
    assert switchboard.endings.stopped


async def test_alone_it_goes_on_until_its_calls_end(lines: FakeLines) -> None:
    [line] = lines.add(1)
    switchboard = FakeSwitchboard(lines)
    deaf = asyncio.Event()
    leaving = asyncio.create_task(leave(switchboard, 20, Surroundings(stop_listening=deaf.set, clock=lines.time)))
    for _ in range(50):
        await asyncio.sleep(0)
    assert switchboard.draining
    assert not deaf.is_set()
    lines.remove(line)
    await asyncio.wait_for(leaving, 5)
    assert line.closed is None
    assert deaf.is_set()


async def test_alone_it_waits_for_another_gateway_to_come(lines: FakeLines) -> None:
    [line] = lines.add(1)
    others = asyncio.Event()
    around = Surroundings(others.is_set, clock=lines.time)
    leaving = asyncio.create_task(leave(FakeSwitchboard(lines), 20, around))
    for _ in range(50):
        await asyncio.sleep(0)
    assert line.closed is None
    others.set()
    await asyncio.wait_for(leaving, 5)
    assert line.closed is not None


async def test_alone_it_closes_what_is_left_when_its_time_is_over(lines: FakeLines) -> None:
    [line] = lines.add(1, silent=False)
    lines.time.now = 3.0
    around = Surroundings(clock=lines.time)
    await asyncio.wait_for(leave(FakeSwitchboard(lines), 0, around), 5)
    assert line.closed == pytest.approx(3.0, abs=0.1)
