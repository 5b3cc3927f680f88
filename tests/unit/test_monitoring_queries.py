"""Every query of rules, dashboard and autoscalers asks for what the services really export."""

import ast
import importlib
import json
import pkgutil
import re
import typing
from functools import cache
from typing import Any

import prometheus_client
import pytest
import yaml
from prometheus_client import CollectorRegistry, Histogram

import services
from services.gateway import admission, endings, leases, losses, reception, takeover
from services.llm import latency
from shared.breakers import _LEVELS
from shared.messages import Playback, TurnCompleted
from tests.fakes import ROOT
from tests.promql import Catalogue, WrongQuery, labels_of

SERVICES = {path.parent.name for path in ROOT.glob("services/*/__main__.py")}
SCRAPED = frozenset({"job", "instance"})
"""Labels that docker-compose's Prometheus and a cluster's add alike; rules and dashboard may use no others."""
OF_PODS = frozenset({"namespace", "pod", "container"})
_EXPORTER = {
    "gnatsd_healthz_status": {"server_id"},
    "gnatsd_varz_connections": {"server_id"},
    "gnatsd_varz_in_msgs": {"server_id"},
    "gnatsd_varz_out_msgs": {"server_id"},
    "gnatsd_varz_slow_consumers": {"server_id"},
    "jetstream_server_max_storage": {"server_id", "server_name", "cluster", "domain", "meta_leader", "is_meta_leader"},
    "jetstream_server_total_message_bytes": {
        "server_id", "server_name", "cluster", "domain", "meta_leader", "is_meta_leader",
    },
}  # fmt: skip
"""Source: prometheus-nats-exporter 0.20.2, collector/collector.go, healthz.go and jsz.go."""


@cache
def exported() -> dict[str, frozenset[str]]:
    """Label names by sample name, of all that the services register."""
    for module in pkgutil.walk_packages(services.__path__, "services."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: dict[str, frozenset[str]] = {name: frozenset(labels) for name, labels in _EXPORTER.items()}
    found["up"] = frozenset()
    for collector in list(prometheus_client.REGISTRY._collector_to_names):
        declared = frozenset(getattr(collector, "_labelnames", ()))
        for family in collector.collect():
            labels = declared.union(*(sample.labels for sample in family.samples))
            found |= dict.fromkeys(_sample_names(family.name, family.type), labels - {"le"})
            if family.type == "histogram":
                found |= {f"{family.name}_bucket": labels | {"le"}}
    return found


def _sample_names(family: str, kind: str) -> list[str]:
    suffixes = {"counter": ["_total"], "histogram": ["_sum", "_count"], "summary": ["", "_sum", "_count"]}
    return [family + suffix for suffix in suffixes.get(kind, [""])]


def _counted(path: str, variable: str) -> set[str]:
    """What the code under `path` writes out in `variable.labels(…)`, whatever the label."""
    calls = [
        node
        for file in (ROOT / path).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"{variable}.labels"
    ]
    words = [word.value for call in calls for word in call.args if isinstance(word, ast.Constant)]
    return {word for word in words if isinstance(word, str)}


def _parts() -> set[str]:
    registry = CollectorRegistry()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "TURNS", Histogram("turns", "", ["part"], registry=registry))
        turn: dict[str, Any] = dict.fromkeys(TurnCompleted.model_fields, 0)
        latency.observe(TurnCompleted.model_construct(**turn))
    return {sample.labels["part"] for family in registry.collect() for sample in family.samples}


@cache
def _known_values() -> dict[tuple[str, str], set[str]]:
    return {
        ("calls_ended", "reason"): set(typing.get_args(endings.Reason)),
        ("calls_refused", "reason"): {admission._FULL, *reception._REASONS.values()},
        ("leases", "outcome"): set(leases.OUTCOMES),
        ("turn_seconds", "part"): _parts(),
        ("takeovers", "reason"): set(typing.get_args(losses.Reason)),
        ("takeovers", "outcome"): set(typing.get_args(takeover.Outcome)),
        ("playbacks", "state"): set(typing.get_args(Playback.model_fields["state"].annotation)),
        ("speculations", "result"): _counted("services/llm", "_SPECULATIONS"),
        ("audio_frames", "direction"): _counted("services/gateway", "AUDIO_FRAMES"),
    }


def values(metric: str, label: str) -> frozenset[str]:
    """The values of a label that a query may ask for."""
    if label == "job":
        return frozenset(SERVICES | {"nats"})
    if label == "stage":
        return frozenset(SERVICES)
    if label == "namespace":
        return frozenset({"trunkline"})
    if label == "pod":
        return frozenset({"a-pod"})
    family = re.sub(r"^trunkline_|_(total|bucket|count|sum)$", "", metric)
    try:
        return frozenset(_known_values()[family, label])
    except KeyError:
        raise WrongQuery(f"the values of {label} in {metric} are not known here") from None


def catalogue(*added: frozenset[str]) -> Catalogue:
    """What is exported, with the labels that a scrape adds."""
    return Catalogue({name: labels.union(SCRAPED, *added) for name, labels in exported().items()}, values)


def panels() -> list[dict[str, Any]]:
    dashboard = json.loads((ROOT / "monitoring/dashboard.json").read_text())
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((ROOT / "monitoring/rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def adapter() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = yaml.safe_load((ROOT / "k8s/monitoring/adapter/config.yaml").read_text())["rules"]
    return rules


def overlays(kind: str) -> list[Any]:
    found = []
    for path in sorted((ROOT / "k8s/overlays").glob("**/*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if isinstance(document, dict) and document.get("kind") == kind and "$patch" not in document:
                found.append(pytest.param(document, id=f"{path.parent.name}/{path.name}"))
    return found


def _series(rule: dict[str, Any]) -> str:
    return str(rule["seriesQuery"].partition("{")[0])


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_asks_for_what_is_exported(alert: dict[str, Any]) -> None:
    labels = labels_of(alert["expr"], catalogue())
    for text in alert["annotations"].values():
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= labels


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_is_exported(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        labels = labels_of(target["expr"].replace("$__rate_interval", "1m"), catalogue())
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) == labels


@pytest.mark.parametrize("rule", adapter(), ids=_series)
def test_a_metric_of_pods_is_made_of_what_is_exported(rule: dict[str, Any]) -> None:
    query = rule["metricsQuery"].replace("<<.Series>>", _series(rule)).replace("<<.GroupBy>>", "pod")
    query = query.replace("<<.LabelMatchers>>", 'namespace="trunkline",pod=~"a-pod"')
    assert labels_of(rule["seriesQuery"], catalogue(OF_PODS)) >= set(rule["resources"]["overrides"])
    assert labels_of(query, catalogue(OF_PODS)) == {"pod"}


@pytest.mark.parametrize("scaled", overlays("ScaledObject"))
def test_keda_asks_for_what_is_exported(scaled: dict[str, Any]) -> None:
    for trigger in scaled["spec"].get("triggers", ()):
        # One number, or KEDA refuses it.
        assert labels_of(trigger["metadata"]["query"], catalogue(OF_PODS)) == set()


@pytest.mark.parametrize("scaler", overlays("HorizontalPodAutoscaler"))
def test_an_autoscaler_asks_for_what_the_adapter_offers(scaler: dict[str, Any]) -> None:
    offered = {rule.get("name", {}).get("as", _series(rule)) for rule in adapter()}
    asked = {metric["pods"]["metric"]["name"] for metric in scaler["spec"].get("metrics", ()) if "pods" in metric}
    assert asked <= offered


def test_what_is_exported_is_seen_somewhere() -> None:
    texts = [(ROOT / "monitoring" / name).read_text() for name in ("dashboard.json", "rules.yml")]
    named = set(re.findall(r"trunkline_\w+?(?=_bucket|_count\b|\W)", " ".join(texts)))
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exported() if name.startswith("trunkline_")}
    # Tokens are money: providers' bills count them better.
    assert ours - named == {"trunkline_speculation_wasted_tokens_total"}


def test_an_open_breaker_is_what_the_alert_waits_for() -> None:
    expression = next(alert["expr"] for alert in alerts() if alert["alert"] == "TrunklineBreakerOpen")
    assert expression.endswith(f"== {_LEVELS['open']}")


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("trunkline_cals", "nobody exports"),
        ('trunkline_calls{stag="stt"}', "no label stag"),
        ('trunkline_calls{stage="sst"}', "stage is never sst"),
        ('rate(trunkline_calls_ended_total{reason=~"stage_lost|taken_over"}[5m])', "never taken_over"),
        ("sum by (stage, pod) (trunkline_calls)", "no label pod"),
        ("sum by (stage) (trunkline_calls) / sum by (job) (trunkline_capacity)", "different labels"),
        ("up unless on (server_id) gnatsd_healthz_status", "no label server_id"),
        ("histogram_quantile(0.9, sum by (part) (rate(trunkline_turn_seconds_bucket[5m])))", "no label le"),
        ("trunkline_turn_seconds", "nobody exports"),
        ('trunkline_provider_failures_total{reason="boredom"}', "not known here"),
        ("sum without (job) (trunkline_calls)", "not understood"),
    ],
)
def test_a_wrong_query_is_told(query: str, wrong: str) -> None:
    with pytest.raises(WrongQuery, match=wrong):
        labels_of(query, catalogue())


def test_the_scrape_names_jobs_as_the_queries_do() -> None:
    scrapes = yaml.safe_load((ROOT / "monitoring/prometheus.yml").read_text())["scrape_configs"]
    assert {scrape["job_name"] for scrape in scrapes} == SERVICES | {"nats"}


def test_every_scrape_of_a_service_brings_the_key() -> None:
    scrapes = yaml.safe_load((ROOT / "monitoring/prometheus.yml").read_text())["scrape_configs"]
    assert {scrape["job_name"] for scrape in scrapes if "authorization" in scrape} == SERVICES
