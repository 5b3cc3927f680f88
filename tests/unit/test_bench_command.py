"""The command line of `bench`: what is wrong use, which levels are run, what is told."""

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from simulator.__main__ import parser
from simulator.bench.crowd import Wanted
from simulator.bench.result import LevelResult
from simulator.bench.site import Setting
from simulator.commands.options import WrongUse
from simulator.plan import ProcessFailed


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--levels", "10,x"], "--levels 10,x"),
        (["--levels", "0"], "--levels 0"),
        (["--level", "1001"], "1 to 1000"),
        (["--turns", "0"], "--turns"),
        (["--llm-ms", "-1"], "delays"),
        (["--hold-s", "600"], "--hold-s and --past need"),
        (["--past"], "--hold-s and --past need"),
        (["--guard-record"], "--guard-record needs"),
        (["--guard", "none.json", "--cores", "none"], "none.json: no such file"),
        (["--levels", "1", "--plot", "x.pdf"], ".svg or .png"),
        (["--levels", "1", "--json", "none/x.json"], "none/x.json: no such folder"),
        (["--levels", "1", "--markdown", "/dev/null"], "bench: begin"),
        (["--levels", "1", "--markdown", "none.md"], "none.md"),
        (["--levels", "1", "--cores", "stt=1"], "--cores stt=1: system=CORES"),
        (["--levels", "1", "--cores", "system=4096"], "no core 4096 here"),
        (["--levels", "1", "--workers", "fax=2"], "--workers fax=2"),
    ],
)
async def test_wrong_use_says_what_is_wrong(argv: Sequence[str], complaint: str) -> None:
    args = parser().parse_args(["bench", "--cores", "none", *argv])
    with pytest.raises(WrongUse) as wrong:
        await args.run(args)
    assert complaint in str(wrong.value)


async def test_a_baseline_that_cannot_be_read_is_wrong_use(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_text('{"ratio": 0, "cpu_s_per_call_minute": 0, "calibration_s": 1}')
    args = parser().parse_args(["bench", "--cores", "none", "--guard", str(path)])
    with pytest.raises(WrongUse, match="not what --guard-record writes"):
        await args.run(args)


class Bench:
    """Levels up to `capacity` are good; one more than `breaks_at` does not even start."""

    def __init__(self, capacity: int, breaks_at: int = 1000) -> None:
        self.capacity = capacity
        self.breaks_at = breaks_at
        self.tried: list[int] = []
        self.late: dict[int, list[float]] = {}
        """What is added at a level, one time after the other, in ms; then 10."""

    async def run(self, wanted: Wanted, setting: Setting, progress: Callable[[str], None]) -> LevelResult:
        self.tried.append(wanted.calls)
        if wanted.calls > self.breaks_at:
            raise ProcessFailed("no core left")
        good = wanted.calls <= self.capacity
        return LevelResult(
            calls=wanted.calls,
            window_s=10.0,
            turns=1,
            answered=1,
            wrong=() if good else ("call 0: wrong",) * 30,
            wrong_turns=0 if good else 30,
            added_ms=((self.late.get(wanted.calls) or [10.0]).pop(0),),
            clear_ms=(),
            gaps=0,
            refused=0,
            cost={"stt": 0.5},
            calibration_s=2.0,
        )


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    fake = Bench(capacity=70)
    monkeypatch.setattr("simulator.bench.level.run", fake.run)
    monkeypatch.setattr("simulator.bench.pins.usable", lambda: frozenset((0, 1)))
    monkeypatch.setattr("simulator.bench.pins.pinned", lambda cores: contextlib.nullcontext())
    return fake


async def result(tmp_path: Path, *argv: str) -> tuple[int, dict[str, Any]]:
    out = tmp_path / "bench.json"
    args = parser().parse_args(["bench", *argv, "--json", str(out)])
    status = await args.run(args)
    return status, json.loads(out.read_text())


async def test_without_levels_the_calls_per_core_are_searched(tmp_path: Path, bench: Bench) -> None:
    status, told = await result(tmp_path)
    assert status == 0
    assert bench.tried == [50, 100, 70, 80]
    assert told["calls_per_core"] == 70
    assert [level["calls"] for level in told["levels"]] == [50, 70, 80, 100]


@pytest.mark.parametrize(("late", "added"), [([500.0, 20.0], 20.0), ([500.0, 400.0], 400.0), ([400.0, 500.0], 400.0)])
async def test_a_level_of_the_search_that_was_only_late_is_tried_again(
    tmp_path: Path, bench: Bench, late: list[float], added: float
) -> None:
    bench.late[70] = late
    told = (await result(tmp_path))[1]
    assert bench.tried[:4] == [50, 100, 70, 70]
    assert {level["calls"]: level["added_ms"]["p95"] for level in told["levels"]}[70] == added
    assert told["calls_per_core"] == (70 if added < 100 else 60)


async def test_levels_are_run_as_asked_and_a_wrong_turn_is_status_one(
    tmp_path: Path, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = await result(tmp_path, "--levels", "10,80")
    assert status == 1
    assert bench.tried == [10, 80]
    assert told["calls_per_core"] == 10
    assert "wrong: 80 calls: … 10 more" in capsys.readouterr().out
    assert (await result(tmp_path, "--levels", "10,20"))[0] == 0


async def test_calls_of_several_cores_are_none_of_one(tmp_path: Path, bench: Bench) -> None:
    assert (await result(tmp_path, "--levels", "10,20", "--cores", "none"))[1]["calls_per_core"] is None


async def test_what_was_measured_survives_a_system_that_fails(tmp_path: Path, bench: Bench) -> None:
    bench.breaks_at = bench.capacity = 120
    status, told = await result(tmp_path)
    assert status == 0
    assert [level["calls"] for level in told["levels"]] == [50, 100]
    bench.breaks_at = 0
    with pytest.raises(ProcessFailed, match="no core left"):
        await result(tmp_path)


async def test_the_guard_records_and_compares(
    tmp_path: Path, bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "baseline.json"
    for argv, told in ((["--guard-record"], "recorded: "), ([], "a call-minute costs")):
        args = parser().parse_args(["bench", "--guard", str(path), *argv])
        assert await args.run(args) == 0
        assert capsys.readouterr().out.startswith(told)
    monkeypatch.setattr("simulator.bench.pins.usable", lambda: frozenset((0,)))
    args = parser().parse_args(["bench", "--guard", str(path)])
    assert await args.run(args) == 0
    assert capsys.readouterr().out.startswith("WARNING: nothing is pinned: system=0,load=1: no core 1 here")
    bench.breaks_at = 5
    args = parser().parse_args(["bench", "--guard", str(path)])
    assert await args.run(args) == 0
    assert "WARNING: the cost of a call was not measured: no core left" in capsys.readouterr().out
    assert bench.tried == [10, 10, 10, 10]
    assert json.loads(path.read_text()) == {"ratio": 0.25, "cpu_s_per_call_minute": 0.5, "calibration_s": 2.0}
