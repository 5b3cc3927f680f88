"""The dashboard is one that Grafana can show; what a cluster and docker-compose read fits together."""

import json
from itertools import combinations
from typing import Any

import pytest
import yaml

from shared.settings import Settings
from tests.fakes import ROOT

DASHBOARD: dict[str, Any] = json.loads((ROOT / "monitoring/dashboard.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
MONITORING = ROOT / "k8s/monitoring"
SERVICES = {"gateway", "stt", "llm", "tts", "speech"}
NAME = "app.kubernetes.io/name"


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def endpoint(path: str) -> dict[str, Any]:
    (only,) = read(path)["spec"]["podMetricsEndpoints"]
    assert isinstance(only, dict)
    return only


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    at = panel["gridPos"]
    return {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}


def test_the_dashboard_is_of_a_schema_that_grafana_12_writes() -> None:
    assert DASHBOARD["schemaVersion"] == 41
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_no_panel_lies_over_another_or_outside() -> None:
    for one, other in combinations(PANELS, 2):
        assert not cells(one) & cells(other), (one["title"], other["title"])
    assert all(0 <= x < 24 for panel in PANELS for x, _ in cells(panel))


def test_panels_ask_the_data_source_that_people_choose() -> None:
    (variable,) = DASHBOARD["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
    shown = [panel for panel in PANELS if panel["type"] != "row"]
    assert {panel["datasource"]["uid"] for panel in shown} == {"${datasource}"}
    assert all(panel["description"] for panel in shown)


@pytest.mark.parametrize("panel", [p for p in PANELS if p["type"] != "row"], ids=lambda panel: panel["title"])
def test_a_panel_names_each_of_its_queries(panel: dict[str, Any]) -> None:
    letters = [target["refId"] for target in panel["targets"]]
    assert letters == sorted(set(letters)) and letters
    assert all(target["legendFormat"] for target in panel["targets"])


def test_prometheus_asks_every_service_with_the_operators_key() -> None:
    monitor, asked = read("k8s/monitoring/services.yaml"), endpoint("k8s/monitoring/services.yaml")
    (expression,) = monitor["spec"]["selector"]["matchExpressions"]
    assert (expression["key"], set(expression["values"])) == (NAME, SERVICES)
    pod = read("k8s/base/pod.yaml")["spec"]["template"]["spec"]["containers"][0]
    (key,) = [entry["valueFrom"]["secretKeyRef"] for entry in pod["env"] if entry["name"] == "API_KEY"]
    assert asked["authorization"] == {"type": "Bearer", "credentials": {"name": key["name"], "key": key["key"]}}
    assert asked["port"] in {port["name"] for port in pod["ports"]}
    assert key["key"].lower() in Settings.model_fields


@pytest.mark.parametrize("path", ["k8s/monitoring/services.yaml", "k8s/monitoring/broker.yaml"])
def test_a_target_is_named_as_the_rules_name_it(path: str) -> None:
    assert read(path)["spec"]["jobLabel"] == NAME
    (renamed,) = endpoint(path)["relabelings"]
    assert (renamed["sourceLabels"], renamed["targetLabel"]) == (["__meta_kubernetes_pod_name"], "instance")
    assert endpoint(path)["interval"] == read("monitoring/prometheus.yml")["global"]["scrape_interval"]


def test_the_exporter_is_to_be_reached_and_may_do_nothing_else() -> None:
    (sidecar,) = read("k8s/monitoring/nats-exporter/sidecar.yaml")
    exporter = sidecar["value"]
    (port,) = exporter["ports"]
    assert f"-port={port['containerPort']}" in exporter["args"]
    assert {"-varz", "-healthz", "-jsz=all"} <= set(exporter["args"])
    assert endpoint("k8s/monitoring/broker.yaml")["port"] == port["name"]
    (opening,) = read("k8s/monitoring/nats-exporter/network.yaml")
    assert opening["value"]["ports"] == [{"port": port["name"], "protocol": "TCP"}]
    assert exporter["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert exporter["args"][-1].endswith(":8222")
    assert (
        "--http_port=8222"
        in read("k8s/base/nats/statefulset.yaml")["spec"]["template"]["spec"]["containers"][0]["args"]
    )


@pytest.mark.parametrize(
    "folder", ["monitoring", *sorted(str(p.parent.relative_to(ROOT)) for p in MONITORING.rglob("kustomization.yaml"))]
)
def test_a_kustomization_names_what_is_there(folder: str) -> None:
    spec = read(f"{folder}/kustomization.yaml")
    files = [*spec.get("resources", ()), *(patch["path"] for patch in spec.get("patches", ()))]
    for generator in spec.get("configMapGenerator", ()):
        files += [entry.rpartition("=")[2] for entry in generator["files"]]
    assert files
    assert all((ROOT / folder / file).exists() for file in files)


def test_the_dashboard_is_found_by_grafanas_sidecar() -> None:
    (generator,) = read("monitoring/kustomization.yaml")["configMapGenerator"]
    assert generator["options"] == {"labels": {"grafana_dashboard": "1"}, "disableNameSuffixHash": True}


def test_docker_composes_prometheus_reads_the_same_rules() -> None:
    assert read("monitoring/prometheus.yml")["rule_files"] == ["rules.yml"]
    (source,) = read("monitoring/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["jsonData"]["timeInterval"] == read("monitoring/prometheus.yml")["global"]["scrape_interval"]
