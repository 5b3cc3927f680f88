"""What the pods of k8s/ ask for is what `make bench` measured."""

import json
from typing import Any

import pytest

from tests.fakes import ROOT
from tests.manifests import Cluster, container, every_cluster
from tests.unit.test_k8s_pods import bytes_of, cores_of

BENCH = json.loads((ROOT / "docs/bench.json").read_text())
MEASURED = ("gateway", "stt", "llm", "tts")
BEFORE_THE_FIRST_CALL = 130e6
"""Bytes that a process takes for itself (docs/scaling.md)."""
OVER_ROUTES = 2
"""A cluster carries most messages twice (docs/scaling.md)."""


def level(calls: int) -> dict[str, Any]:
    """The level of the bench that is nearest to so many calls."""
    nearest: dict[str, Any] = min(BENCH["levels"], key=lambda each: abs(each["calls"] - calls))
    return nearest


def cores(service: str, calls: int) -> float:
    busy: float = level(calls)["cpu_s_per_call_minute"][service] / 60 * calls
    return busy


@every_cluster
@pytest.mark.parametrize("service", MEASURED)
def test_requests_cover_the_calls_of_a_pod(cluster: Cluster, service: str) -> None:
    asked = container(cluster.one("Deployment", service))["resources"]["requests"]["cpu"]
    assert cores_of(asked) >= cores(service, int(cluster.settings()["MAX_CALLS"]))


@every_cluster
@pytest.mark.parametrize("service", MEASURED)
def test_memory_covers_the_calls_of_a_pod(cluster: Cluster, service: str) -> None:
    calls = int(cluster.settings()["MAX_CALLS"])
    asked = container(cluster.one("Deployment", service))["resources"]["requests"]["memory"]
    assert bytes_of(asked) >= BEFORE_THE_FIRST_CALL + 1e6 * level(calls)["mb_per_call"][service] * calls


def test_a_pod_takes_what_a_core_holds() -> None:
    assert int(Cluster("production", "loader").settings()["MAX_CALLS"]) <= BENCH["calls_per_core"]


@pytest.mark.parametrize("overlay", ["production", "keda"])
def test_the_broker_carries_all_that_the_workers_hold(overlay: str) -> None:
    cluster = Cluster(overlay, "loader")
    broker = cluster.one("StatefulSet", "nats")
    calls = 1000
    needed = cores("nats", BENCH["calls_per_core"]) / BENCH["calls_per_core"] * calls * OVER_ROUTES
    limit = cores_of(container(broker)["resources"]["limits"]["cpu"])
    assert limit * broker["spec"]["replicas"] >= needed
    # One node of three may be away.
    assert limit * (broker["spec"]["replicas"] - 1) >= needed
    assert cores_of(container(broker)["resources"]["requests"]["cpu"]) * broker["spec"]["replicas"] >= needed / 3


@every_cluster
def test_the_broker_collects_before_it_is_killed(cluster: Cluster) -> None:
    for broker in cluster.of("StatefulSet"):
        (soft,) = (each["value"] for each in container(broker)["env"] if each["name"] == "GOMEMLIMIT")
        hard = bytes_of(container(broker)["resources"]["limits"]["memory"])
        assert 0.7 * hard <= bytes_of(soft.removesuffix("B")) <= 0.95 * hard


def test_a_small_machine_holds_the_local_overlay() -> None:
    cluster = Cluster("local", "loader")
    asked = {each["metadata"]["name"]: container(each)["resources"]["requests"]["cpu"] for each in cluster.workloads()}
    cluster_itself = 0.95
    assert (
        sum(cores_of(asked[each["metadata"]["name"]]) * each["spec"]["replicas"] for each in cluster.workloads())
        <= 2 - cluster_itself
    )
