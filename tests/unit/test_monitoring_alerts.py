"""Each alert fires when it should, and keeps quiet when it should; evaluated by tests/promql_samples.py."""

from typing import Any

import pytest
import yaml

from monitoring.__main__ import RESOURCE, RULES, resource
from tests.fakes import ROOT
from tests.promql_samples import Samples

LATER_MIN = 25
"""When an alert is looked at."""
_WELL = {
    'trunkline_calls{stage="gateway",job="gateway",instance="g"}': "50x30",
    'trunkline_calls{stage="stt",job="stt",instance="s"}': "15x30",
    'trunkline_capacity{stage="stt",job="stt",instance="s"}': "25x30",
    'trunkline_calls{stage="llm",job="llm",instance="l"}': "15x30",
    'trunkline_capacity{stage="llm",job="llm",instance="l"}': "25x30",
    'trunkline_calls{stage="tts",job="tts",instance="t"}': "15x30",
    'trunkline_capacity{stage="tts",job="tts",instance="t"}': "25x30",
    'trunkline_waiting{job="gateway",instance="g"}': "0x30",
    'trunkline_calls_ended_total{reason="caller_hung_up",job="gateway",instance="g"}': "0+10x30",
    'trunkline_calls_ended_total{reason="carrier_lost",job="gateway",instance="g"}': "2+0x30",
    'trunkline_calls_refused_total{reason="full",job="gateway",instance="g"}': "3x30",
    'trunkline_calls_refused_total{reason="caller_limit",job="gateway",instance="g"}': "0+1x30",
    'trunkline_leases_total{stage="stt",outcome="granted",job="gateway",instance="g"}': "0+20x30",
    'trunkline_leases_total{stage="stt",outcome="timeout",job="gateway",instance="g"}': "0+1x30",
    'trunkline_turn_seconds_bucket{part="total",le="1.0",job="llm",instance="l"}': "0+97x30",
    'trunkline_turn_seconds_bucket{part="total",le="3.0",job="llm",instance="l"}': "0+100x30",
    'trunkline_turn_seconds_bucket{part="total",le="+Inf",job="llm",instance="l"}': "0+100x30",
    'trunkline_turn_seconds_bucket{part="platform",le="0.05",job="llm",instance="l"}': "0+97x30",
    'trunkline_turn_seconds_bucket{part="platform",le="0.25",job="llm",instance="l"}': "0+100x30",
    'trunkline_turn_seconds_bucket{part="platform",le="+Inf",job="llm",instance="l"}': "0+100x30",
    'trunkline_turn_seconds_bucket{part="stt",le="1.0",job="llm",instance="l"}': "0+97x30",
    'trunkline_turn_seconds_bucket{part="stt",le="3.0",job="llm",instance="l"}': "0+100x30",
    'trunkline_turn_seconds_bucket{part="stt",le="+Inf",job="llm",instance="l"}': "0+100x30",
    'trunkline_event_loop_lag_seconds{stage="stt",job="stt",instance="s"}': "0.01x20 0.3 0.01x10",
    'trunkline_shedding{stage="stt",job="stt",instance="s"}': "0x24 1 0x10",
    'trunkline_breaker_state{provider="llm.openai",job="llm",instance="l"}': "2 1 0x30",
    'trunkline_provider_failures_total{role="llm",provider="openai",reason="timeout",instance="l"}': "0x20 2x10",
    'trunkline_takeovers_total{stage="stt",reason="lost",outcome="taken",instance="g"}': "0x20 3x10",
    'trunkline_takeovers_total{stage="stt",reason="draining",outcome="taken",instance="g"}': "0+5x30",
    'trunkline_takeovers_total{stage="stt",reason="gone",outcome="given_up",instance="g"}': "1x30",
    'trunkline_dialogue_saves_failed_total{job="llm",instance="l"}': "4x30",
    'trunkline_stt_frames_dropped_total{job="stt",instance="s"}': "0+20x30",
    'up{job="stt",instance="s"}': "1x23 0 1x10",
    'up{job="nats",instance="n"}': "1x30",
    'process_start_time_seconds{job="stt",instance="s"}': "100x20 200x10",
    'gnatsd_healthz_status{server_id="n",job="nats",instance="n"}': "0x30",
    'gnatsd_varz_slow_consumers{server_id="n",job="nats",instance="n"}': "2x30",
    'jetstream_server_total_message_bytes{server_id="n",job="nats",instance="n"}': "70x30",
    'jetstream_server_max_storage{server_id="n",job="nats",instance="n"}': "100x30",
}
"""A busy day, with a stumble here and there; nobody is to be called."""

WRONG: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "TrunklineCallsFailing": (
        {'trunkline_calls_ended_total{reason="carrier_lost",job="gateway",instance="g"}': "0+1x30"},
        {},
    ),
    "TrunklineCallsRefused": (
        {'trunkline_calls_refused_total{reason="full",job="gateway",instance="g"}': "3x20 3+1x10"},
        {},
    ),
    "TrunklineCallsLimited": (
        {'trunkline_calls_refused_total{reason="caller_limit",job="gateway",instance="g"}': "0+4x30"},
        {"reason": "caller_limit"},
    ),
    "TrunklineCallersWait": ({'trunkline_waiting{job="gateway",instance="g"}': "0x15 3x15"}, {}),
    "TrunklineStageNearlyFull": ({'trunkline_calls{stage="llm",job="llm",instance="l"}': "24x30"}, {"stage": "llm"}),
    "TrunklineStageMissing": ({'trunkline_calls{stage="tts",job="tts",instance="t"}': "15x10"}, {"stage": "tts"}),
    "TrunklineLeasesFail": (
        {'trunkline_leases_total{stage="stt",outcome="timeout",job="gateway",instance="g"}': "0+4x30"},
        {"stage": "stt"},
    ),
    "TrunklineRepliesSlow": (
        {'trunkline_turn_seconds_bucket{part="total",le="1.0",job="llm",instance="l"}': "0+60x30"},
        {},
    ),
    "TrunklinePlatformSlow": (
        {'trunkline_turn_seconds_bucket{part="platform",le="0.05",job="llm",instance="l"}': "0+60x30"},
        {},
    ),
    "TrunklineProviderSlow": (
        {'trunkline_turn_seconds_bucket{part="stt",le="1.0",job="llm",instance="l"}': "0+60x30"},
        {"part": "stt"},
    ),
    "TrunklineLoopLag": (
        {'trunkline_event_loop_lag_seconds{stage="stt",job="stt",instance="s"}': "0.01x15 0.2x15"},
        {"stage": "stt", "instance": "s"},
    ),
    "TrunklineShedding": ({'trunkline_shedding{stage="stt",job="stt",instance="s"}': "0x20 1x10"}, {"stage": "stt"}),
    "TrunklineBreakerOpen": (
        {'trunkline_breaker_state{provider="llm.openai",job="llm",instance="l"}': "0x18 2 1 2 1 2 1 2 1 2 1 2 1"},
        {"provider": "llm.openai"},
    ),
    "TrunklineProviderFailures": (
        {
            'trunkline_provider_failures_total{role="llm",provider="openai",reason="timeout",instance="l"}': (
                "0x10 0+2x20"
            )
        },
        {"role": "llm", "provider": "openai"},
    ),
    "TrunklineTakeovers": (
        {'trunkline_takeovers_total{stage="stt",reason="lost",outcome="taken",instance="g"}': "0x20 8x10"},
        {"stage": "stt"},
    ),
    "TrunklineTakeoversGivenUp": (
        {'trunkline_takeovers_total{stage="stt",reason="gone",outcome="given_up",instance="g"}': "1x20 2x10"},
        {"stage": "stt"},
    ),
    "TrunklineDialoguesNotSaved": (
        {'trunkline_dialogue_saves_failed_total{job="llm",instance="l"}': "4x20 4+1x10"},
        {},
    ),
    "TrunklineFramesDropped": (
        {'trunkline_stt_frames_dropped_total{job="stt",instance="s"}': "0+100x30"},
        {"instance": "s"},
    ),
    "TrunklineProcessDown": ({'up{job="stt",instance="s"}': "1x20 0x10"}, {"job": "stt", "instance": "s"}),
    "TrunklineProcessRestarts": (
        {'process_start_time_seconds{job="stt",instance="s"}': "100x12 200x3 300x3 400x10"},
        {"job": "stt", "instance": "s"},
    ),
    "TrunklineBrokerNotWell": (
        {'gnatsd_healthz_status{server_id="n",job="nats",instance="n"}': "0x15"},
        {"job": "nats", "instance": "n"},
    ),
    "TrunklineBrokerSlowConsumers": (
        {'gnatsd_varz_slow_consumers{server_id="n",job="nats",instance="n"}': "2x22 3x10"},
        {"instance": "n"},
    ),
    "TrunklineBrokerStorage": (
        {'jetstream_server_total_message_bytes{server_id="n",job="nats",instance="n"}': "85x30"},
        {"instance": "n"},
    ),
}
"""What goes wrong for each alert on such a day, and the labels with which it then fires."""

ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]


def fires(alert: dict[str, Any], samples: Samples, at_min: int = LATER_MIN) -> list[dict[str, str]]:
    """The labels with which the alert fires: its query has given them for as long as it waits."""
    waits_min = int(alert.get("for", "0m").removesuffix("m"))
    moments = [set(_given(alert, samples, at_min - ago)) for ago in range(waits_min + 1)]
    return [dict(labels) for labels in set.intersection(*moments)]


def _given(alert: dict[str, Any], samples: Samples, at_min: int) -> list[frozenset[tuple[str, str]]]:
    given = samples.give(alert["expr"], at_min * 60.0)
    return [frozenset(label for label in labels if label[0] != "__name__") for labels in given]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_fires(alert: dict[str, Any]) -> None:
    series, labels = WRONG[alert["alert"]]
    assert set(series) <= set(_WELL)
    assert fires(alert, Samples({**_WELL, **series})) == [labels]


@pytest.mark.parametrize(
    ("name", "label"), [("TrunklineCallsRefused", "full"), ("TrunklineTakeoversGivenUp", "given_up")]
)
def test_the_first_of_a_gateways_life_is_told_and_forgotten(name: str, label: str) -> None:
    (series,) = WRONG[name][0]
    assert label in series
    alert = next(alert for alert in ALERTS if alert["alert"] == name)
    assert fires(alert, Samples({series: "0x22 1x30"})) == [WRONG[name][1]]
    assert not fires(alert, Samples({series: "0x12 1x30"}))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_keeps_quiet_on_a_busy_day(alert: dict[str, Any]) -> None:
    assert not fires(alert, Samples(_WELL))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_keeps_quiet_without_calls(alert: dict[str, Any]) -> None:
    idle = {name: "0x30" if name.startswith("trunkline_") and "capacity" not in name else _WELL[name] for name in _WELL}
    assert not fires(alert, Samples(idle))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert set(alert["annotations"]) == {"summary", "description"}
    assert len(alert["annotations"]["description"].split()) > 8
    assert alert["alert"].startswith("Trunkline")


def test_every_alert_has_its_day() -> None:
    assert [alert["alert"] for alert in ALERTS] == list(WRONG)


def test_the_cluster_has_the_same_rules() -> None:
    assert RESOURCE.read_text() == resource(RULES.read_text()), "run `python -m monitoring`"
    spec = yaml.safe_load(RESOURCE.read_text())["spec"]
    assert spec == yaml.safe_load(RULES.read_text())


def test_the_document_names_every_alert() -> None:
    text = (ROOT / "docs/monitoring.md").read_text()
    assert [alert["alert"] for alert in ALERTS if f"`{alert['alert']}`" not in text] == []
