"""The figures that the simulator tells."""

import pytest

from shared.messages import TurnCompleted
from simulator.commands.report import cpu, percentile, split
from simulator.usage import Usage


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([3.0], 50, 3.0),
        ([1.0, 2.0], 50, 1.0),
        ([4.0, 1.0, 3.0, 2.0], 50, 2.0),
        ([float(n) for n in range(1, 101)], 95, 95.0),
        ([1.0, 2.0, 3.0], 100, 3.0),
        ([1.0, 2.0, 3.0], 0, 1.0),
    ],
)
def test_a_percentile_is_one_of_the_values(values: list[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == expected


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 50)


def test_a_turn_is_split_by_stage() -> None:
    timing = TurnCompleted(
        turn_id=1,
        generation=1,
        endpointing_ms=500,
        stt_ms=30,
        llm_first_token_ms=5,
        first_clause_ms=2,
        tts_first_audio_ms=10,
        gateway_ms=1,
        bus_ms=0,
        line_ms=0,
        total_ms=548,
    )
    assert split(timing) == {"endpointing": 500, "stt": 30, "llm": 7, "tts": 10, "gateway": 1}
    assert sum(split(timing).values()) == timing.total_ms


def test_cpu_is_told_per_call_minute_and_summed_without_the_callers() -> None:
    before = {name: Usage(name, 1.0, 50) for name in ("stt", "llm", "simulator")}
    after = [Usage("stt", 2.0, 60), Usage("llm", 1.5, 60), Usage("simulator", 9.0, 60), Usage("tts", 5.0, 60)]
    lines = cpu(before, after, call_s=120)
    figures = {line.split()[0]: float(line.split()[1]) for line in lines[1:]}
    assert figures == {"stt": 0.5, "llm": 0.25, "simulator": 4.0, "platform": 0.75}
    assert cpu(before, after, call_s=0) == []
