"""The figures that the simulator tells."""

import pytest

from shared.messages import Message, TranscriptAgent, TurnCompleted
from simulator.caller import Turn
from simulator.commands.report import cpu, latency, percentile, performance, platform, split, spread
from simulator.conversation import Line, TurnReport
from simulator.rehearsal.performance import PerformanceReport, StepReport
from simulator.usage import Usage
from simulator.verdict import Expected


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


TIMING = TurnCompleted(
    turn_id=1,
    generation=1,
    endpointing_ms=500,
    stt_ms=30,
    llm_first_token_ms=5,
    first_clause_ms=2,
    tts_first_audio_ms=10,
    gateway_ms=1,
    bus_ms=3,
    line_ms=12,
    total_ms=563,
)


def test_a_turn_is_split_by_stage() -> None:
    assert split(TIMING) == {
        "endpointing": 500,
        "stt": 30,
        "llm": 7,
        "tts": 10,
        "gateway": 1,
        "bus": 3,
        "line": 12,
    }
    assert sum(split(TIMING).values()) == TIMING.total_ms


def test_the_platform_adds_what_is_neither_a_provider_nor_the_deliberate_wait() -> None:
    assert platform(TIMING) == 16
    assert platform(TIMING) == sum(split(TIMING)[part] for part in ("gateway", "bus", "line"))


def test_a_turn_is_told_in_one_line() -> None:
    line = Line("hello", b"", Expected())
    report = TurnReport(line, Turn(b"", 570.0), None, TIMING)
    assert latency(report).strip() == (
        "reply after 570 ms by ear: endpointing 500 + stt 30 + llm 7 + tts 10 + gateway 1 + bus 3 + line 12 = 563 ms, "
        "16 of them the platform's own"
    )


def test_a_script_is_told_step_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [StepReport("say “hello”", []), StepReport("expect silent: true", ["the agent was heard"])]
    messages: list[Message] = [TranscriptAgent(turn_id=1, generation=1, text="Hi!", interrupted=True)]
    performance("greeting", PerformanceReport("A greeting", "CA1", 3, steps, ["a fault"], messages, 4.2))
    assert capsys.readouterr().out.splitlines() == [
        "FAIL greeting: A greeting (4 s)",
        "  pass  1 say “hello”",
        "  FAIL  2 expect silent: true",
        "          the agent was heard",
        "  FAIL    a fault",
        "          1 more steps were not played",
        " agent: Hi! [interrupted]",
    ]
    performance("greeting", PerformanceReport("A greeting", "CA1", 1, steps[:1], seconds=4.2, messages=messages))
    assert capsys.readouterr().out.splitlines() == ["PASS greeting: A greeting (4 s)", "  pass  1 say “hello”"]


def test_values_are_spread(capsys: pytest.CaptureFixture[str]) -> None:
    spread("stt", [1.0, 2.0, 30.0])
    spread("llm", [])
    assert capsys.readouterr().out == "  stt             p50 2, p95 30, max 30 ms (3 turns)\n"


def test_cpu_is_told_per_call_minute_and_summed_without_the_callers() -> None:
    before = {name: Usage(name, 1.0, 50) for name in ("stt", "llm", "simulator")}
    after = [Usage("stt", 2.0, 60), Usage("llm", 1.5, 60), Usage("simulator", 9.0, 60), Usage("tts", 5.0, 60)]
    lines = cpu(before, after, call_s=120)
    figures = {line.split()[0]: float(line.split()[1]) for line in lines[1:]}
    assert figures == {"stt": 0.5, "llm": 0.25, "simulator": 4.0, "platform": 0.75}
    assert cpu(before, after, call_s=0) == []
