"""A whole level of the benchmark, as small as can be: two calls, and one that is too many."""

import json
from pathlib import Path

import pytest

from simulator.__main__ import parser
from simulator.bench.cost import SYSTEM


async def test_a_small_level_is_right_and_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, document = tmp_path / "bench.json", tmp_path / "bench.md"
    document.write_text("<!-- bench: begin -->\n<!-- bench: end -->\n")
    argv = ["--level", "2", "--turns", "1", "--ramp-s", "0.5", "--past", "--llm-ms", "50", "--tts-ms", "20"]
    args = parser().parse_args(["bench", *argv, "--cores", "none", "--json", str(out), "--markdown", str(document)])
    status = await args.run(args)
    told = json.loads(out.read_text())
    (level,) = told["levels"]
    assert level["wrong"] == [], capsys.readouterr().out
    assert status == 0
    assert level["right"] == level["turns"] >= 2
    assert level["refused"] == 0
    assert level["beyond"] == {"calls": 1, "spoken_to": 1, "connected": 0}
    assert set(level["cpu_s_per_call_minute"]) == set(level["mb_per_call"]) == {*SYSTEM, "sum"}
    assert all(level["cpu_s_per_call_minute"].values())
    assert set(level["loop_lag_ms"]) >= {"gateway", "stt", "llm", "tts"}
    assert level["messages_s"] > 0
    assert told["told"]["endpointing_ms"] == 500
    assert "| 2 |" in document.read_text()
