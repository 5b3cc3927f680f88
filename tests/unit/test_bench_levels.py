"""The pure parts of the benchmark: the sum of a response, the search, what a level cost, whether it was good."""

from dataclasses import replace

import pytest

from services.stt.detector import SpeechDetector, Stopped
from services.stt.vad import WINDOW_MS
from simulator.bench import cost
from simulator.bench.cost import CALLERS, STANDINS, Look
from simulator.bench.crowd import Wanted
from simulator.bench.level import Window, summed_up
from simulator.bench.result import LevelResult, LoadSide
from simulator.bench.search import GRAIN, MOST, highest, next_level
from simulator.bench.told import FINISH_AFTER_MS, Told
from simulator.bench.turn import CallResult, Turn
from simulator.bench.watch import Lags, summed
from simulator.usage import Usage

NAMES = (*cost.SYSTEM, CALLERS, STANDINS)


def test_what_is_not_the_platforms_doing_is_not_added() -> None:
    assert Told(endpointing_ms=500, stt_ms=0, llm_ms=200, tts_ms=80).added_ms(800) == 20


@pytest.mark.parametrize(("stt_ms", "excess"), [(0, 0), (244, 0), (245, 1), (344, 100)])
def test_a_recogniser_answers_beside_the_endpointing_wait(stt_ms: int, excess: float) -> None:
    told = Told(endpointing_ms=500, stt_ms=stt_ms, llm_ms=0, tts_ms=0)
    assert told.stt_excess_ms == excess
    assert told.added_ms(520 + excess) == 20


def test_the_recogniser_is_asked_when_the_detector_notices_the_silence() -> None:
    detector = SpeechDetector()
    silence_ms = at_ms = 0
    for probability in [1.0] * 10 + [0.0] * 20:
        silence_ms = silence_ms + WINDOW_MS if not probability else 0
        if isinstance(detector.hear(probability, at_ms), Stopped):
            break
        at_ms += WINDOW_MS
    assert silence_ms <= FINISH_AFTER_MS <= silence_ms + WINDOW_MS


def test_the_standins_are_told_the_same_delays() -> None:
    options = Told(stt_ms=1, llm_ms=2, tts_ms=3).options
    assert options[:6] == ("--stt-final-ms", "1", "--llm-first-token-ms", "2", "--tts-first-audio-ms", "3")


@pytest.mark.parametrize("capacity", [*range(0, 130, GRAIN), 170, 200, 310, MOST, 900])
def test_the_search_finds_the_highest_good_level(capacity: int) -> None:
    tried: dict[int, bool] = {}
    while (level := next_level(tried)) is not None:
        assert level not in tried
        assert level % GRAIN == 0
        tried[level] = level <= capacity
    assert highest(tried) == min(capacity, MOST)
    assert len(tried) <= MOST // 50 + 3


def test_one_good_level_above_a_bad_one_goes_on_from_there() -> None:
    assert next_level({50: True, 100: False, 150: True}) == 200


def look(at: float, cpu_s: float, rss_mb: float, **changes: float) -> Look:
    return Look(at, dict.fromkeys(NAMES, cpu_s), dict.fromkeys(NAMES, rss_mb), **changes)  # type: ignore[arg-type]


def test_cost_is_that_of_the_system_alone() -> None:
    spent = cost.per_call_minute(look(0, 1.0, 0), look(30, 4.0, 0), call_s=300)
    assert spent == dict.fromkeys(cost.SYSTEM, pytest.approx(0.6))
    assert cost.total({**spent, STANDINS: 9.0}) == pytest.approx(3.0)
    assert cost.per_call_minute(look(0, 1, 0), look(30, 4, 0), call_s=0) == {}


def test_memory_is_what_came_with_the_calls() -> None:
    assert cost.memory_per_call(look(0, 0, 100), look(30, 0, 120), 10) == dict.fromkeys(cost.SYSTEM, 2.0)


def test_processes_of_a_service_count_together() -> None:
    assert summed([Usage("stt", 1.0, 50.0), Usage("stt-1", 2.0, 60.0)]) == ({"stt": 3.0}, {"stt": 110.0})


def test_the_load_side_is_as_busy_as_its_core() -> None:
    before, after = look(0, 0, 0), look(10, 3, 0, core_busy_s=9)
    assert cost.load_share(before, after, 1) == pytest.approx(0.9)
    assert cost.load_share(before, replace(after, core_busy_s=0), 1) == pytest.approx(0.6)
    assert cost.load_share(before, after, 2) == pytest.approx(0.45)
    assert cost.load_share(before, after, 0) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("start", "end", "overlap"), [(0, None, 10), (12, 18, 6), (15, None, 5), (30, None, 0), (0, 5, 0), (0, 30, 10)]
)
def test_a_call_counts_as_long_as_it_was_live_in_the_window(start: float, end: float | None, overlap: float) -> None:
    assert cost.overlap_s(start, end, look(10, 0, 0), look(20, 0, 0)) == overlap


GOOD = LevelResult(
    calls=10,
    window_s=20.0,
    turns=40,
    answered=40,
    wrong=(),
    wrong_turns=0,
    added_ms=(10.0,) * 99 + (300.0,),
    clear_ms=(250.0,),
    gaps=0,
    refused=0,
)


def test_a_level_is_good_when_nothing_is_wrong_and_it_is_quick() -> None:
    assert GOOD.good
    assert GOOD.added(99) == 10.0
    assert not replace(GOOD, wrong=("call 1: …",)).good
    assert not replace(GOOD, refused=1).good
    assert not replace(GOOD, added_ms=()).good
    assert not replace(GOOD, added_ms=(10.0,) * 90 + (100.0,) * 10).good
    assert replace(GOOD, added_ms=(10.0,) * 90 + (99.9,) * 10).good


@pytest.mark.parametrize(("share", "late", "told"), [(0.91, 0, "91% busy"), (0.5, 21, "21 ms late"), (0.9, 20, "")])
def test_a_load_side_at_its_limit_measures_itself(share: float, late: float, told: str) -> None:
    load = LoadSide(share, late, 0, 0)
    assert told in load.bottleneck
    assert bool(load.bottleneck) == bool(told)
    assert replace(GOOD, load=load).good == (not told)


def test_turns_are_judged_at_any_time_and_timed_in_the_window() -> None:
    early = Turn("early", began=5, response_ms=2000, reason="wrong")
    inside = Turn("inside", began=12, response_ms=830, clear_ms=240)
    silent = Turn("silent", began=13, reason="no answer")
    results = [
        CallResult(0, [early, inside, silent], up_at=4.0, underruns=2),
        CallResult(1, [Turn("x", began=11, response_ms=810)], up_at=10.0, ended_at=15.0, failure="ended early"),
        CallResult(2, refused=True),
    ]
    window = Window(look(0, 1, 100), [look(10, 2, 110), look(16, 5, 111), look(20, 6, 120, messages=500)])
    level = summed_up(3, results, Told(), window, None)
    assert (level.turns, level.answered, level.right, level.refused, level.gaps) == (4, 3, 2, 1, 2)
    assert level.added_ms == (50.0, 30.0)
    assert level.clear_ms == (240,)
    assert level.slowest == ("call 0: “inside”: 50 ms, 240 ms to clear", "call 1: “x”: 30 ms")
    assert level.wrong == (
        "call 0: “early”: wrong",
        "call 0: “silent”: no answer",
        "call 1: ended early",
    )
    # 4 CPU seconds over 10 s of the first call and 5 s of the second.
    assert level.cost["stt"] == pytest.approx(4 * 60 / 15)
    assert level.memory["stt"] == pytest.approx(20 / 2)
    assert level.course == (550, 555, 600)
    assert level.messages_s == 50


async def test_lags_are_those_of_the_window() -> None:
    clock = iter((1.0, 11.0, 12.0, 30.0))
    lags = Lags(lambda: next(clock))
    for ms in (500, 3, 7, 900):
        beat = f'{{"stage":"stt","worker":"w","calls":1,"capacity":9,"draining":false,"loop_lag_ms":{ms}}}'
        await lags.note("worker.stt.w", beat.encode())
    await lags.note("worker.stt.w", b"nonsense")
    assert lags.spread(10, 20) == {"stt": (3.0, 7.0)}
    assert lags.spread(40, 50) == {}


def test_many_calls_arrive_no_faster_than_ten_in_a_second() -> None:
    assert [Wanted(calls).arrival_s for calls in (10, 100, 250)] == [10, 10, 25]
    assert Wanted(250, ramp_s=0.5).arrival_s == 0.5


def test_a_tenth_of_the_calls_is_placed_beyond_what_fits() -> None:
    assert [Wanted(calls, past=True).extra for calls in (2, 50)] == [1, 5]
    assert Wanted(50).extra == 0
