"""Who may talk to whom in k8s/: ports that meet, and policies that let a stage reach the broker and its providers."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
import yaml

from tests.kustomize import Manifest
from tests.manifests import NAME, SERVICES, Cluster, containers, every_cluster, labels, selects, tree

PORT_OF_THE_BROKER = 4222
ASK_PROVIDERS = {"stt", "llm", "tts"}
NOT_OUTSIDE = ["10.1.2.3", "172.20.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "127.0.0.1", "::1", "fd00::1"]
OUTSIDE = ["8.8.8.8", "172.32.0.1", "2606:4700::1111"]


@dataclass(frozen=True)
class Way:
    """One thing that a policy allows: a peer, None for anybody, at a port."""

    peer: Any
    port: int | str
    protocol: str


def policies(cluster: Cluster, name: str, direction: str) -> list[Manifest]:
    """The policies for pods of this name that speak of Ingress or Egress."""
    return [
        policy["spec"]
        for policy in cluster.of("NetworkPolicy")
        if direction in policy["spec"]["policyTypes"] and selects(policy["spec"]["podSelector"], {NAME: name})
    ]


def ways(cluster: Cluster, name: str, direction: str) -> Iterator[Way]:
    """All that is allowed."""
    side = "from" if direction == "Ingress" else "to"
    for policy in policies(cluster, name, direction):
        for rule in policy.get(direction.lower(), []):
            assert rule["ports"], "all ports"
            for port in rule["ports"]:
                for peer in rule.get(side) or [None]:
                    yield Way(peer, port["port"], port["protocol"])


def names_of(peer: Manifest) -> set[str]:
    """Which of our pods a peer without a namespace selector is."""
    assert set(peer) == {"podSelector"}
    return {name for name in (*SERVICES, "nats", "nats-box") if selects(peer["podSelector"], {NAME: name})}


def reaches(block: Manifest, address: str) -> bool:
    """Whether an ipBlock has this address."""
    asked = ip_address(address)
    return asked in ip_network(block["cidr"]) and not any(asked in ip_network(each) for each in block.get("except", []))


def is_dns(way: Way) -> bool:
    return (
        way.port == 53
        and way.peer is not None
        and way.peer.get("podSelector") == {"matchLabels": {"k8s-app": "kube-dns"}}
        and way.peer.get("namespaceSelector") == {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
    )


def namespace_of(peer: Manifest | None) -> str:
    """The namespace that may come; "" is anybody."""
    if peer is None:
        return ""
    assert set(peer) == {"namespaceSelector"}
    found: str = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
    return found


@every_cluster
def test_nobody_may_do_anything_that_is_not_allowed(cluster: Cluster) -> None:
    closed = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert closed in [policy["spec"] for policy in cluster.of("NetworkPolicy")]
    for workload in cluster.workloads():
        name = workload["metadata"]["name"]
        assert selects({}, labels(workload))
        assert policies(cluster, name, "Ingress")
        assert policies(cluster, name, "Egress")


@every_cluster
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_reaches_dns_the_broker_and_its_providers(cluster: Cluster, name: str) -> None:
    out = list(ways(cluster, name, "Egress"))
    assert {way.protocol for way in out if is_dns(way)} == {"UDP", "TCP"}
    rest = [way for way in out if not is_dns(way)]
    assert {way.protocol for way in rest} == {"TCP"}
    broker = [way for way in rest if way.port == PORT_OF_THE_BROKER]
    assert len(broker) == 1
    if cluster.overlay == "external":
        assert set(broker[0].peer) == {"ipBlock"}
    else:
        assert names_of(broker[0].peer) == {"nats"}
    providers = [way for way in rest if way not in broker]
    asks = name in ASK_PROVIDERS and cluster.overlay != "local"
    assert bool(providers) == asks
    assert all(way.port == 443 and set(way.peer) == {"ipBlock"} for way in providers)
    blocks = [way.peer["ipBlock"] for way in providers]
    assert not [address for address in NOT_OUTSIDE if any(reaches(block, address) for block in blocks)]
    assert all(any(reaches(block, address) for block in blocks) == asks for address in OUTSIDE)


@every_cluster
def test_callers_reach_the_gateway_and_monitoring_everybody(cluster: Cluster) -> None:
    door = "" if cluster.overlay == "local" else "ingress-nginx"
    for name in SERVICES:
        found = {(namespace_of(way.peer), way.port) for way in ways(cluster, name, "Ingress")}
        assert found == {("monitoring", "http")} | ({(door, "http")} if name == "gateway" else set())


@every_cluster
def test_the_broker_hears_the_services_and_its_nodes_each_other(cluster: Cluster) -> None:
    if not cluster.of("StatefulSet"):
        assert cluster.overlay == "external"
        return
    found: dict[int | str, set[str]] = {}
    for way in ways(cluster, "nats", "Ingress"):
        assert way.peer is not None
        who = names_of(way.peer) if "podSelector" in way.peer else {namespace_of(way.peer)}
        found.setdefault(way.port, set()).update(who)
    monitored: dict[int | str, set[str]] = {} if cluster.overlay == "local" else {"metrics": {"monitoring"}}
    assert found == {"client": {*SERVICES, "nats-box"}, "route": {"nats"}, "monitor": {"monitoring"}} | monitored
    out = [way for way in ways(cluster, "nats", "Egress") if not is_dns(way)]
    assert [(names_of(way.peer), way.port) for way in out] == [({"nats"}, 6222)]


def ports_of(workload: Manifest) -> dict[str, int]:
    """The ports of a workload's pods, by name."""
    return {port["name"]: port["containerPort"] for each in containers(workload) for port in each["ports"]}


@every_cluster
def test_a_named_port_of_a_policy_is_one_of_the_pod(cluster: Cluster) -> None:
    for workload in cluster.workloads():
        for way in ways(cluster, workload["metadata"]["name"], "Ingress"):
            assert way.port in ports_of(workload)


@every_cluster
def test_every_service_listens_where_its_pod_says(cluster: Cluster) -> None:
    for deployment in cluster.deployments().values():
        assert ports_of(deployment) == {"http": int(cluster.settings()["PORT"])}


@every_cluster
def test_every_service_has_pods_with_its_port(cluster: Cluster) -> None:
    services = {each["metadata"]["name"]: each["spec"] for each in cluster.of("Service")}
    assert "gateway" in services
    for name, service in services.items():
        (workload,) = (
            each for each in cluster.workloads() if selects({"matchLabels": service["selector"]}, labels(each))
        )
        for port in service["ports"]:
            assert port["targetPort"] in ports_of(workload), name
            # A headless Service leads to the pods themselves.
            assert service.get("clusterIP") != "None" or port["port"] == ports_of(workload)[port["targetPort"]]


@every_cluster
def test_the_broker_is_where_the_settings_look_for_it(cluster: Cluster) -> None:
    if cluster.overlay == "external":
        assert "example.com" in cluster.settings()["NATS_URL"]
        assert not [
            each for each in cluster.manifests if each["metadata"]["name"] in ("nats", "nats-nodes", "nats-config")
        ]
        return
    service = cluster.one("Service", "nats")
    (port,) = service["spec"]["ports"]
    assert cluster.settings()["NATS_URL"] == f"nats://{service['metadata']['name']}:{port['port']}"
    assert ports_of(cluster.one("StatefulSet", "nats"))[port["targetPort"]] == PORT_OF_THE_BROKER


@pytest.mark.parametrize("overlay", ["production", "keda", "external"])
def test_the_ingress_leads_to_the_gateway_and_to_nothing_of_the_operator(overlay: str) -> None:
    cluster = Cluster(overlay, "loader")
    (ingress,) = cluster.of("Ingress")
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/twilio", "Prefix")
    named = {port["name"] for port in cluster.one("Service", path["backend"]["service"]["name"])["spec"]["ports"]}
    assert path["backend"]["service"]["port"]["name"] in named
    for limit in ("proxy-read-timeout", "proxy-send-timeout"):
        assert int(ingress["metadata"]["annotations"][f"nginx.ingress.kubernetes.io/{limit}"]) >= 3600
    assert {each["spec"].get("type", "ClusterIP") for each in cluster.of("Service")} == {"ClusterIP"}


@pytest.mark.parametrize("overlay", ["production", "keda", "external"])
def test_whoever_lets_callers_in_lets_the_certificates_challenge_in(overlay: str) -> None:
    cluster = Cluster(overlay, "loader")
    (policy,) = (each["spec"] for each in cluster.of("NetworkPolicy") if each["metadata"]["name"] == "certificate")
    assert policy["podSelector"] == {"matchLabels": {"acme.cert-manager.io/http01-solver": "true"}}
    (rule,) = policy["ingress"]
    # Source: cert-manager, pkg/issuer/acme/http/http.go, acmeSolverListenPort.
    assert rule["ports"] == [{"port": 8089, "protocol": "TCP"}]
    (callers,) = (each["spec"] for each in cluster.of("NetworkPolicy") if each["metadata"]["name"] == "callers")
    assert rule["from"] == callers["ingress"][0]["from"]


def test_the_local_port_leads_to_the_gateway() -> None:
    kind = yaml.safe_load((tree() / "k8s/overlays/local/kind.yaml").read_text())
    (mapped,) = (each for node in kind["nodes"] for each in node.get("extraPortMappings", []))
    service = Cluster("local", "loader").one("Service", "gateway")["spec"]
    assert service["type"] == "NodePort"
    assert [port["nodePort"] for port in service["ports"]] == [mapped["containerPort"]]
    assert mapped["listenAddress"] == "127.0.0.1", "unsigned webhooks are allowed"
