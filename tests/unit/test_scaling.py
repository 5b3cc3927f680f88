"""The model of docs/scaling.md."""

import json

import pytest

from tools import scaling
from tools.scaling import Costs

LEVEL = {
    "good": True,
    "calls": 100,
    "cpu_s_per_call_minute": {"gateway": 0.12, "nats": 0.03, "stt": 0.18, "llm": 0.06, "tts": 0.06, "sum": 0.45},
    "mb_per_call": {"gateway": 0.2, "stt": 0.5, "sum": 0.7},
    "messages_s": 6000,
    "traffic_mb_s": 3.0,
}


def test_the_costs_are_those_of_the_highest_good_level() -> None:
    costs = Costs.of({"levels": [{**LEVEL, "calls": 50}, LEVEL, {**LEVEL, "calls": 150, "good": False}]})
    assert costs == Costs(
        cpu_s_per_minute={"gateway": 0.12, "nats": 0.03, "stt": 0.18, "llm": 0.06, "tts": 0.06},
        mb={"gateway": 0.2, "stt": 0.5},
        messages_s=60.0,
        kb_s=30.0,
    )


def test_pods_are_filled_to_a_share_and_one_is_spare() -> None:
    costs = Costs.of({"levels": [LEVEL]})
    # 0.12 CPU-seconds a minute are 2 ms a second: 2 cores for 1,000 calls, 3.33 pods at 60 %.
    assert scaling.cores(costs, "gateway", 1000) == pytest.approx(2.0)
    assert scaling.pods(costs, "gateway", 1000) == 4 + 1


def test_knocks_do_not_grow_with_the_square_of_the_fleet() -> None:
    costs = Costs.of({"levels": [LEVEL]})
    told = [dict(scaling.rows(costs, calls))["broker: knocks and answers, k/s"] for calls in scaling.CALLS]
    assert [float(value.replace(",", "")) for value in told] == [2.4, 28.0, 268.0]


def test_the_document_has_the_model_of_the_figures_beside_it() -> None:
    document = (scaling.DOCS / "scaling.md").read_text()
    costs = Costs.of(json.loads((scaling.DOCS / "bench.json").read_text()))
    assert scaling.update(document, costs) == document, "run `python -m tools.scaling`"
