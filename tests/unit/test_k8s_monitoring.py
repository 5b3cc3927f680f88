"""Monitoring is part of production: it finds the pods, and may come in."""

import pytest

from tests.kustomize import Manifest, load
from tests.manifests import NAME, RENDERERS, SERVICES, Cluster, containers, labels, selects, tree
from tests.unit.test_k8s_network import namespace_of, ways

monitored = pytest.mark.parametrize(
    "cluster", [Cluster(name, each) for name in ("production", "keda") for each in RENDERERS], ids=str
)


def seen(cluster: Cluster, monitor: Manifest) -> list[Manifest]:
    """The workloads whose pods a PodMonitor takes."""
    return [each for each in cluster.workloads() if selects(monitor["spec"]["selector"], labels(each))]


def open_to_monitoring(cluster: Cluster, name: str) -> set[int | str]:
    """The ports of these pods that may be reached from there."""
    from_outside = (way for way in ways(cluster, name, "Ingress") if "podSelector" not in (way.peer or {}))
    return {way.port for way in from_outside if namespace_of(way.peer) == "monitoring"}


@monitored
def test_every_pod_is_scraped_at_a_port_that_monitoring_may_reach(cluster: Cluster) -> None:
    monitors = cluster.of("PodMonitor")
    found = [each["metadata"]["name"] for monitor in monitors for each in seen(cluster, monitor)]
    assert sorted(found) == sorted((*SERVICES, "nats"))
    for monitor in monitors:
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        for workload in seen(cluster, monitor):
            named = {port["name"] for each in containers(workload) for port in each["ports"]}
            assert endpoint["port"] in named
            assert endpoint["port"] in open_to_monitoring(cluster, labels(workload)[NAME])


@monitored
def test_alerts_and_the_dashboard_come_along(cluster: Cluster) -> None:
    assert [each["metadata"]["name"] for each in cluster.of("PrometheusRule")] == ["trunkline"]
    dashboard = cluster.one("ConfigMap", "trunkline-dashboard")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert set(dashboard["data"]) == {"trunkline.json"}


def test_one_machine_needs_no_operator_of_prometheus() -> None:
    cluster = Cluster("local", "loader")
    assert not cluster.of("PodMonitor", "PrometheusRule")


def test_with_another_broker_nobody_looks_for_this_one() -> None:
    for renderer in RENDERERS:
        names = [each["metadata"]["name"] for each in Cluster("external", renderer).of("PodMonitor")]
        assert names == ["trunkline"]


def test_the_adapters_rules_are_where_the_adapter_is() -> None:
    (rules,) = load(tree() / "k8s/monitoring/adapter")
    assert rules["metadata"]["namespace"] == "monitoring"
    assert list(rules["data"]) == ["config.yaml"], "the key that the adapter's chart mounts"
