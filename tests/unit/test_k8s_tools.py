"""k8s/tools: what people apply by hand fits what the overlays bring."""

import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from broker import users
from tests.kustomize import Manifest, documents
from tests.manifests import NAME, Cluster, every_cluster, tree
from tests.unit.test_k8s_network import is_dns, names_of, ways
from tests.unit.test_k8s_pods import assert_bounded, assert_unprivileged
from tests.unit.test_k8s_rendering import API, OLDEST_API


def nats_box() -> Manifest:
    (manifest,) = documents(tree() / "k8s/tools/nats-box.yaml")
    assert isinstance(manifest, dict)
    return manifest


def told() -> Manifest:
    """The variables of its container: a value, or where it comes from."""
    (own,) = nats_box()["spec"]["containers"]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in own["env"]}


@pytest.mark.parametrize("version", [OLDEST_API, API])
def test_the_api_knows_every_field(version: str) -> None:
    assert kubernetes_validate.validate(nats_box(), version, strict=True) == version


def test_it_is_no_more_privileged_than_the_others() -> None:
    spec = nats_box()["spec"]
    assert_unprivileged(spec)
    (own,) = spec["containers"]
    assert_bounded(own)
    assert spec["enableServiceLinks"] is False


def test_the_cli_keeps_its_files_where_it_can_write() -> None:
    (own,) = nats_box()["spec"]["containers"]
    written = {mount["mountPath"] for mount in own["volumeMounts"]}
    assert {volume["name"] for volume in nats_box()["spec"]["volumes"] if "emptyDir" in volume} == {
        mount["name"] for mount in own["volumeMounts"]
    }
    assert own["workingDir"] in written
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        assert any(f"{told()[name]}/".startswith(f"{folder}/") for folder in written), name


@every_cluster
def test_it_reaches_the_broker_as_the_operator(cluster: Cluster) -> None:
    assert nats_box()["metadata"]["labels"][NAME] == nats_box()["metadata"]["name"] == "nats-box"
    assert nats_box()["metadata"]["namespace"] == cluster.one("Namespace", "trunkline")["metadata"]["name"]
    out = list(ways(cluster, "nats-box", "Egress"))
    assert [way for way in out if is_dns(way)]
    (broker,) = (way for way in out if not is_dns(way))
    assert broker.port == 4222
    assert not list(ways(cluster, "nats-box", "Ingress"))
    if cluster.overlay != "external":
        assert names_of(broker.peer) == {"nats"}
        assert told()["NATS_URL"] == cluster.settings()["NATS_URL"]
    assert told()["NATS_USER"] in users.USERS
    key = {"name": "trunkline-nats", "key": users.variable(told()["NATS_USER"])}
    assert told()["NATS_PASSWORD"] == {"secretKeyRef": key}


@every_cluster
def test_no_overlay_brings_it(cluster: Cluster) -> None:
    assert not cluster.of("Pod")
