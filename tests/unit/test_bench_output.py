"""The benchmark's tables, picture, guard and cores."""

import asyncio
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from shared.agents import Directory
from simulator.bench import guard, pins, speed, table
from simulator.bench.guard import Baseline
from simulator.bench.pins import Pins, WrongPins
from simulator.bench.plot import draw
from simulator.bench.result import Beyond, LevelResult, LoadSide
from simulator.bench.site import Setting, without_speculation
from tests.fakes import profile

LEVEL = LevelResult(
    calls=50,
    window_s=600.0,
    turns=200,
    answered=199,
    wrong=("call 3: “what did I book”: no answer",),
    wrong_turns=1,
    added_ms=(10.0, 20.0, 30.4),
    clear_ms=(),
    gaps=2,
    refused=0,
    cost={"gateway": 0.1, "nats": 0.05, "stt": 0.2},
    memory={"gateway": 0.5, "stt": 1.0},
    course=(500.0, 510.0, 520.4),
    lag_ms={"stt": (1.2, 8.8)},
    messages_s=1234.5,
    load=LoadSide(0.42, 3.0, 0.2, 0.1),
)


def test_a_level_is_a_row() -> None:
    cells = dict(zip(table.MAIN, table.main_row(LEVEL), strict=True))
    assert cells["answered"] == "199/200"
    assert cells["right"] == "199/200"
    assert cells["added ms p50 / p95 / p99"] == "20 / 30 / 30"
    assert cells["to clear ms p50 / p95"] == "-"
    assert cells["CPU-s per call-minute"] == "0.35"
    assert cells["MB per call"] == "1.5"
    assert cells["load core"] == "42%"


def test_all_tables_have_a_line_for_each_level() -> None:
    lines = list(table.text([LEVEL, replace(LEVEL, calls=100)]))
    assert [line.split()[0] for line in lines if line and line.split()[0].isdecimal()] == ["50", "100"] * 3
    assert "1 / 9" in lines[-1]


def test_the_tables_take_the_place_of_those_in_a_document() -> None:
    document = f"before\n{table.BEGIN}\nold\n{table.END}\nbehind\n"
    placed = table.placed(document, list(table.markdown([LEVEL], per_core=50)))
    assert placed.startswith(f"before\n{table.BEGIN}\n| calls |")
    assert placed.endswith(f"\ncalls per core: 50\n{table.END}\nbehind\n")
    assert "old" not in placed
    assert table.placed(placed, ["new"]) == f"before\n{table.BEGIN}\nnew\n{table.END}\nbehind\n"
    with pytest.raises(ValueError, match="bench: begin"):
        table.placed("no marks", [])


def test_it_is_said_plainly_when_the_load_side_was_at_its_limit() -> None:
    limited = replace(LEVEL, calls=60, load=LoadSide(0.95, 30.0, 0.9, 0.1))
    remarks = list(table.remarks([LEVEL, limited], per_core=50))
    assert remarks[0] == (
        "60 calls: the load side was the bottleneck: its core was 95% busy and its frames left 30 ms late (p99)"
    )
    assert remarks[1] == "calls per core: 50 at least: the load side set the limit"
    assert list(table.remarks([replace(LEVEL, beyond=Beyond(5, 4, 1))], None)) == [
        "50 calls: of 5 more, 4 were told so in a sentence, 1 were connected"
    ]


def test_the_result_is_json() -> None:
    told = json.loads(json.dumps(table.machine(LEVEL)))
    assert told["cpu_s_per_call_minute"]["sum"] == 0.35
    assert told["added_ms"] == {"p50": 20.0, "p95": 30.4, "p99": 30.4}
    assert told["clear_ms"] == {}
    assert told["wrong"] == list(LEVEL.wrong)
    assert not told["good"]


def test_the_course_of_the_memory_is_told() -> None:
    assert table.course(LEVEL) == "50 calls for 600 s: 500 MB at first, 510 MB midway, 520 MB at last"


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_levels_are_drawn(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bench{suffix}"
    draw([replace(LEVEL, calls=100), LEVEL, replace(LEVEL, calls=150, added_ms=())], 100, path)
    assert path.read_bytes()[:5] == {".svg": b"<?xml", ".png": b"\x89PNG\r"}[suffix]


def test_the_guard_warns_above_thirteen_tenths() -> None:
    recorded = guard.measured(0.5, 1.0)
    assert recorded == Baseline(ratio=0.5, cpu_s_per_call_minute=0.5, calibration_s=1.0)
    # A machine of half the speed.
    assert not guard.compared(guard.measured(1.0, 2.0), recorded).startswith("WARNING")
    assert not guard.compared(guard.measured(0.649, 1.0), recorded).startswith("WARNING")
    assert guard.compared(guard.measured(0.651, 1.0), recorded).startswith("WARNING")
    assert Baseline.model_validate(guard.written(recorded)) == recorded


def test_a_level_that_cost_nothing_is_no_baseline() -> None:
    for cost, calibration_s in ((0.0, 1.0), (0.5, 0.0)):
        with pytest.raises(ValueError, match="greater than 0"):
            guard.measured(cost, calibration_s)


async def test_the_speed_of_the_machine_is_measured_meanwhile() -> None:
    async with speed.measured(()) as seen:
        while len(seen.seen) < 2:
            await asyncio.sleep(0.01)
    (first, calibration_s), (second, _) = seen.seen[:2]
    assert calibration_s > 0
    assert seen.between(first, first) == calibration_s
    assert seen.between(second + 100, second + 200) == 0


@pytest.mark.parametrize("text", ["system=0,load=1", "system=0+2,load=1", "load=3", "none"])
def test_cores_are_written_as_they_are_read(text: str) -> None:
    assert str(pins.parse(text)) == text


def test_cores_are_read() -> None:
    assert pins.parse("system=0+2,load=1") == Pins(frozenset((0, 2)), frozenset((1,)))
    assert pins.parse("none") == Pins()


@pytest.mark.parametrize("text", ["", "0,1", "system=", "system=a", "stt=1", "load=1,load=2", "system=0,"])
def test_what_names_no_cores_is_refused(text: str) -> None:
    with pytest.raises(WrongPins, match="expected"):
        pins.parse(text)


def test_cores_must_be_there() -> None:
    wanted = pins.parse("system=0,load=7")
    pins.check(wanted, frozenset((0, 7)))
    pins.check(Pins(), None)
    with pytest.raises(WrongPins, match="no core 7 here, only 0, 1"):
        pins.check(wanted, frozenset((0, 1)))
    with pytest.raises(WrongPins, match="Linux only"):
        pins.check(wanted, None)


@pytest.mark.skipif(sys.platform != "linux", reason="processes can be pinned on Linux only")
def test_a_process_is_pinned_only_meanwhile() -> None:
    before = os.sched_getaffinity(0)
    core = frozenset((min(before),))
    with pins.pinned(core):
        assert os.sched_getaffinity(0) == core
    assert os.sched_getaffinity(0) == before
    with pins.pinned(frozenset()):
        assert os.sched_getaffinity(0) == before


def test_the_agent_of_the_benchmark_prepares_nothing() -> None:
    document = without_speculation(profile())
    agent = Directory.model_validate(
        {
            "default": document["default"],
            "agents": [{"name": name, **body} for name, body in document["agents"].items()],
        }
    ).agents[0]
    assert not agent.turns.speculation
    assert agent == profile().model_copy(update={"turns": profile().turns.changed({"speculation": False})})


def test_workers_are_full_when_calls_beyond_are_tried() -> None:
    setting = Setting(counts={"gateway": 1, "stt": 2, "llm": 3, "tts": 2})
    assert setting.workers_max_calls(51, exactly=True) == 26
    assert setting.workers_max_calls(51, exactly=False) > 51
