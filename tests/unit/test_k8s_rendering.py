"""k8s/ renders, the same way by kubectl and by the loader, and the API knows every field of it."""

import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from tests import kustomize
from tests.fakes import ROOT
from tests.kustomize import Manifest, load
from tests.manifests import OVERLAYS, RENDERERS, Cluster, every_cluster, tree

API = "1.37"
OLDEST_API = "1.30"
"""As k8s/README.md says."""
CUSTOM = {"ScaledObject", "PodMonitor", "PrometheusRule"}
"""Kinds of other projects, of which kubernetes-validate knows nothing."""


def in_order(value: Any) -> Any:
    """The same with all lists of named things sorted: a patch may add to either end."""
    match value:
        case dict():
            return {key: in_order(inner) for key, inner in value.items()}
        case list() if value and all(isinstance(item, dict) and "name" in item for item in value):
            return sorted((in_order(item) for item in value), key=lambda item: str(item["name"]))
        case list():
            return [in_order(item) for item in value]
    return value


def by_name(found: list[Manifest]) -> dict[tuple[str, str], Any]:
    named = {(each["kind"], each["metadata"]["name"]): in_order(each) for each in found}
    assert len(named) == len(found), "two of one kind and name"
    return named


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_loader_makes_what_kubectl_makes(overlay: str) -> None:
    loaded = by_name(Cluster(overlay, "loader").manifests)
    assert loaded
    for renderer in RENDERERS:
        assert by_name(Cluster(overlay, renderer).manifests) == loaded


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("version", [OLDEST_API, API])
def test_the_api_knows_every_field(overlay: str, version: str) -> None:
    for manifest in Cluster(overlay, RENDERERS[-1]).manifests:
        if manifest["kind"] not in CUSTOM:
            assert kubernetes_validate.validate(manifest, version, strict=True) == version


def test_the_oldest_api_is_the_documented_one() -> None:
    assert f"Kubernetes {OLDEST_API} or later" in (ROOT / "k8s/README.md").read_text()


@pytest.mark.parametrize(
    ("kind", "name", "wrong"),
    [
        ("Deployment", "stt", {"replica": 3}),
        ("Deployment", "stt", {"replicas": "three"}),
        ("NetworkPolicy", "dns", {"podSelector": []}),
    ],
)
def test_a_wrong_field_is_seen(kind: str, name: str, wrong: Manifest) -> None:
    manifest = Cluster("local", "loader").one(kind, name)
    broken = {**manifest, "spec": {**manifest["spec"], **wrong}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, API, strict=True)


@every_cluster
def test_everything_is_in_one_namespace(cluster: Cluster) -> None:
    namespaces = {each["metadata"].get("namespace") for each in cluster.manifests if each["kind"] != "Namespace"}
    assert namespaces == {"trunkline"}
    assert all(each["metadata"]["labels"]["app.kubernetes.io/part-of"] == "trunkline" for each in cluster.workloads())


ROLLED = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../production]
images: [{name: registry.example.com/trunkline-gateway, newTag: 9.9.9}]
"""


@pytest.mark.parametrize("renderer", RENDERERS)
def test_one_service_can_be_rolled_before_the_others(renderer: str) -> None:
    folder = tree() / "k8s/overlays/rolled"
    folder.mkdir(exist_ok=True)
    (folder / "kustomization.yaml").write_text(ROLLED)
    before, after = (Cluster(overlay, renderer).deployments() for overlay in ("production", "rolled"))
    shutil.rmtree(folder)
    assert [name for name in before if before[name]["spec"] != after[name]["spec"]] == ["gateway"]


def test_no_file_is_forgotten() -> None:
    for overlay in OVERLAYS:
        load(tree() / "k8s/overlays" / overlay)
    load(tree() / "k8s/monitoring/adapter")
    there = {path.resolve() for path in (tree() / "k8s").rglob("*") if path.suffix in (".yaml", ".env")}
    alone = {(tree() / "k8s" / name).resolve() for name in ("overlays/local/kind.yaml", "tools/nats-box.yaml")}
    assert there - kustomize.read <= alone


def test_the_loader_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("namePrefix: a-\n")
    with pytest.raises(ValueError, match="namePrefix"):
        load(tmp_path)


@pytest.mark.parametrize("patch", [{"target": {"kind": "Deployment", "name": "st"}}, {}])
def test_a_patch_that_meets_nothing_is_seen(tmp_path: Path, patch: Manifest) -> None:
    for name, content in (
        ("kustomization.yaml", {"resources": ["made.yaml"], "patches": [{"path": "patch.yaml", **patch}]}),
        ("made.yaml", {"kind": "Deployment", "metadata": {"name": "stt"}}),
        ("patch.yaml", {"kind": "Deployment", "metadata": {"name": "st"}, "spec": {}}),
    ):
        (tmp_path / name).write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match="nothing to patch"):
        load(tmp_path)
