"""HorizontalPodAutoscalers and KEDA's ScaledObjects of k8s/: they scale what exists, by the same measures."""

import re
from typing import Any

import pytest

from shared import metrics
from tests.kustomize import Manifest
from tests.manifests import SERVICES, Cluster, container, every_cluster, pod
from tests.unit.test_k8s_pods import cores_of

FIELDS = {
    "scaleTargetRef": dict,
    "minReplicaCount": int,
    "maxReplicaCount": int,
    "pollingInterval": int,
    "fallback": dict,
    "advanced": dict,
    "triggers": list,
}
"""Of a ScaledObject's spec, as far as these use it (keda.sh, "ScaledObject specification")."""
EXPORTED = {"trunkline_calls", "trunkline_capacity", "trunkline_event_loop_lag_seconds"}
UTILIZATION, LAG, CALLS = "trunkline_utilization", "trunkline_event_loop_lag_seconds", "trunkline_calls"


def scalers(overlay: str, kind: str) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each["spec"] for each in Cluster(overlay, "loader").of(kind)}


def averages(scaler: Manifest) -> dict[str, float]:
    """The averages that a HorizontalPodAutoscaler holds, by metric."""
    found = {}
    for metric in scaler["metrics"]:
        assert metric["type"] == "Pods"
        target = metric["pods"]["target"]
        assert target["type"] == "AverageValue"
        found[metric["pods"]["metric"]["name"]] = cores_of(target["averageValue"])
    return found


def queries(scaled: Manifest) -> dict[str, float]:
    """The thresholds of a ScaledObject by query."""
    found: dict[str, float] = {}
    for trigger in scaled["triggers"]:
        assert (trigger["type"], trigger["metricType"]) == ("prometheus", "AverageValue")
        assert set(trigger["metadata"]) == {"serverAddress", "query", "threshold", "ignoreNullValues"}
        assert trigger["metadata"]["ignoreNullValues"] == "false", "no answer would be no calls"
        found[trigger["metadata"]["query"]] = float(trigger["metadata"]["threshold"])
    return found


def behaviour(scaled: Manifest) -> Any:
    return scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]


def test_each_overlay_has_one_scaler_for_each_service() -> None:
    for overlay, kind, other in (
        ("production", "HorizontalPodAutoscaler", "ScaledObject"),
        ("keda", "ScaledObject", "HorizontalPodAutoscaler"),
    ):
        assert set(scalers(overlay, kind)) == set(SERVICES)
        assert not scalers(overlay, other)
        for name, scaler in scalers(overlay, kind).items():
            assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    assert not scalers("local", "HorizontalPodAutoscaler")


@every_cluster
def test_an_apply_does_not_set_back_what_is_scaled(cluster: Cluster) -> None:
    for deployment in cluster.deployments().values():
        assert ("replicas" in deployment["spec"]) == (cluster.overlay == "local")


def test_there_are_always_two() -> None:
    least = [each["minReplicas"] for each in scalers("production", "HorizontalPodAutoscaler").values()]
    least += [each["minReplicaCount"] for each in scalers("keda", "ScaledObject").values()]
    least += [each["spec"]["replicas"] for each in Cluster("local", "loader").deployments().values()]
    assert min(least) >= 2


@pytest.mark.parametrize("name", SERVICES)
def test_calls_against_capacity_and_the_loop_scale_a_service(name: str) -> None:
    held = averages(scalers("production", "HorizontalPodAutoscaler")[name])
    assert set(held) == {CALLS if name == "gateway" else UTILIZATION, LAG}
    settings = Cluster("production", "loader").settings()
    assert held[LAG] < float(settings["SHED_LAG_MS"]) / 1000
    if name == "gateway":
        assert 0.5 <= held[CALLS] / float(settings["MAX_CALLS"]) <= 0.75
    else:
        assert 0.5 <= held[UTILIZATION] <= 0.75, "a lost pod's calls have a place at the others"


@pytest.mark.parametrize("name", SERVICES)
def test_keda_asks_for_the_same(name: str) -> None:
    scaler = scalers("production", "HorizontalPodAutoscaler")[name]
    scaled = scalers("keda", "ScaledObject")[name]
    of = f'{{namespace="trunkline",stage="{name}"}}'
    meant = {
        UTILIZATION: f"sum(trunkline_calls{of} / trunkline_capacity{of})",
        CALLS: f"sum(trunkline_calls{of})",
        LAG: f"sum(avg_over_time(trunkline_event_loop_lag_seconds{of}[1m]))",
    }
    assert queries(scaled) == {meant[metric]: value for metric, value in averages(scaler).items()}
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (scaler["minReplicas"], scaler["maxReplicas"])
    assert behaviour(scaled) == scaler["behavior"]


def test_the_queries_name_what_is_exported() -> None:
    exported = {each.name for gauge in (metrics.CALLS, metrics.CAPACITY, metrics.LOOP_LAG) for each in gauge.describe()}
    assert exported == EXPORTED
    for scaled in scalers("keda", "ScaledObject").values():
        for query in queries(scaled):
            assert set(re.findall(r"trunkline_\w+", query)) <= EXPORTED


def test_keda_knows_every_field() -> None:
    for scaled in scalers("keda", "ScaledObject").values():
        assert {key: type(value) for key, value in scaled.items()} == FIELDS
        assert set(scaled["fallback"]) == {"failureThreshold", "replicas", "behavior"}
        assert scaled["fallback"]["behavior"] == "currentReplicasIfHigher", "nobody goes when Prometheus is away"
        assert set(scaled["advanced"]) == {"horizontalPodAutoscalerConfig"}
        assert set(behaviour(scaled)) == {"scaleUp", "scaleDown"}
        assert 0 < scaled["minReplicaCount"] < scaled["maxReplicaCount"]


@pytest.mark.parametrize("name", SERVICES)
def test_pods_go_one_by_one_and_late(name: str) -> None:
    down = scalers("production", "HorizontalPodAutoscaler")[name]["behavior"]["scaleDown"]
    (policy,) = down["policies"]
    assert down["stabilizationWindowSeconds"] >= 300
    assert (policy["type"], policy["value"]) == ("Pods", 1)
    leaving = pod(Cluster("production", "loader").one("Deployment", name))["terminationGracePeriodSeconds"]
    assert policy["periodSeconds"] >= leaving
    up = scalers("production", "HorizontalPodAutoscaler")[name]["behavior"]["scaleUp"]
    assert up["stabilizationWindowSeconds"] == 0


def test_metrics_are_open_to_whoever_has_the_key() -> None:
    for deployment in Cluster("production", "loader").deployments().values():
        (key,) = (each for each in container(deployment)["env"] if each["name"] == "API_KEY")
        assert key["valueFrom"]["secretKeyRef"]["name"] == "trunkline-operator"
