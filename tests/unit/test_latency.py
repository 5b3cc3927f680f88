"""Where the time of a turn goes."""

import pytest
from prometheus_client import REGISTRY

from services.llm.actions import Commit
from services.llm.latency import Latency, observe
from shared.messages import Playback, TurnCompleted

PARTS = ("endpointing", "stt", "llm_first_token", "first_clause", "tts_first_audio", "gateway", "bus", "line", "total")
STARTED = Playback(
    generation=3,
    state="started",
    heard_ms=0,
    heard="",
    asked_at=1001.31,
    synthesized_at=1001.61,
    received_at=1001.62,
    at=1001.65,
)
AUDIBLE = Playback(generation=3, state="playing", heard_ms=100, heard="We", audible_at=1001.75, at=1001.8)


def latency(decided_at: float = 1000.9, committed_at: float = 1000.91, speculated: bool = False) -> Latency:
    """Of a caller who stopped at 1000 and was waited for until 1000.5."""
    commit = Commit("hello", ended_at=1000.0, due_at=1000.5, utterances=(4, 5))
    return Latency(commit, decided_at, committed_at, speculated, first_text_at=1001.2, first_piece_at=1001.3)


def spans(turn: TurnCompleted | None) -> dict[str, float]:
    """The parts, which together are the total."""
    assert turn is not None
    found = {part: getattr(turn, f"{part}_ms") for part in PARTS}
    assert sum(found.values()) == pytest.approx(2 * found["total"])
    return found


def parts(*ms: float) -> dict[str, float]:
    return dict(zip(PARTS, ms, strict=True))


def test_a_turn_is_measured_from_the_last_speech_sample_to_the_first_one_that_is_heard() -> None:
    measured = latency()
    measured.started(STARTED)
    turn = measured.audible(AUDIBLE, 7)
    assert turn is not None
    assert (turn.turn_id, turn.generation, turn.utterances, turn.speculated) == (7, 3, (4, 5), False)
    assert spans(turn) == pytest.approx(parts(500, 400, 290, 100, 300, 30, 10 + 10 + 10, 100, 1750))


def test_a_turn_that_a_timer_ended_did_not_wait_for_stt() -> None:
    measured = latency(decided_at=1000.3, committed_at=1000.51)
    measured.started(STARTED)
    assert spans(measured.audible(AUDIBLE, 1)) == pytest.approx(parts(500, 0, 690, 100, 300, 30, 30, 100, 1750))


def test_a_first_token_that_was_there_before_the_commit_took_no_time() -> None:
    measured = latency(speculated=True)
    measured.first_text_at, measured.first_piece_at = 1000.6, 1000.92
    measured.started(STARTED)
    turn = measured.audible(AUDIBLE, 1)
    assert turn is not None
    assert turn.speculated
    found = spans(turn)
    assert (found["llm_first_token"], found["first_clause"]) == pytest.approx((0, 10))


def test_words_that_are_not_the_models_count_for_the_model() -> None:
    measured = latency()
    measured.first_text_at = None
    measured.started(STARTED)
    found = spans(measured.audible(AUDIBLE, 1))
    assert (found["llm_first_token"], found["first_clause"]) == pytest.approx((390, 0))


def test_a_stage_that_tells_no_times_has_the_way_to_it_counted_as_its_own() -> None:
    measured = latency()
    measured.started(STARTED.model_copy(update={"asked_at": 0.0, "received_at": 0.0}))
    assert spans(measured.audible(AUDIBLE, 1)) == pytest.approx(parts(500, 400, 290, 100, 310, 40, 10, 100, 1750))


def test_without_its_beginning_or_its_first_sound_a_turn_is_not_measured() -> None:
    measured = latency()
    assert measured.audible(AUDIBLE, 1) is None
    measured.started(STARTED)
    assert measured.audible(STARTED, 1) is None
    measured.first_piece_at = None
    assert measured.audible(AUDIBLE, 1) is None


def test_the_audio_starts_once() -> None:
    measured = latency()
    measured.started(STARTED)
    measured.started(STARTED.model_copy(update={"at": 1001.7}))
    assert spans(measured.audible(AUDIBLE, 1))["gateway"] == pytest.approx(30)


def test_the_histogram_has_every_part_and_the_platforms_own() -> None:
    def observed(part: str) -> float:
        return REGISTRY.get_sample_value("trunkline_turn_seconds_sum", {"part": part}) or 0.0

    measured = latency()
    measured.started(STARTED)
    turn = measured.audible(AUDIBLE, 1)
    assert turn is not None
    before = {part: observed(part) for part in (*PARTS, "platform")}
    observe(turn.model_copy(update={"line_ms": -5.0}))
    grown = {part: (observed(part) - before[part]) * 1000 for part in before}
    assert grown == pytest.approx({**spans(turn), "line": 0, "platform": 60})
