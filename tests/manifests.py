"""The manifests of k8s/, rendered: by `kubectl kustomize` where there is one, and by tests/kustomize.py without."""

import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes import ROOT
from tests.kustomize import Manifest, load

SERVICES = ("gateway", "stt", "llm", "tts", "speech")
NAME = "app.kubernetes.io/name"
OVERLAYS = ("local", "production", "keda", "external")
"""Those of k8s/overlays, and production with the component external-nats."""
KUBECTL = shutil.which("kubectl")
RENDERERS = ("loader", "kubectl") if KUBECTL else ("loader",)
_EXTERNAL = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../production]
components: [../../components/external-nats]
"""


@cache
def tree() -> Path:
    """A copy of what the manifests are made of, with secrets for the local overlay."""
    root = Path(tempfile.mkdtemp(prefix="trunkline-k8s-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    for name in ("k8s", "broker", "monitoring"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("secrets", "__pycache__"))
    make_secrets(root)
    external = root / "k8s/overlays/external"
    external.mkdir()
    (external / "kustomization.yaml").write_text(_EXTERNAL)
    return root


def make_secrets(root: Path) -> Path:
    """Run the local overlay's script; returns the folder of what it made."""
    script = root / "k8s/overlays/local/secrets.sh"
    subprocess.run(["sh", str(script)], env={**os.environ, "PYTHON": sys.executable}, check=True)
    return script.parent / "secrets"


@dataclass(frozen=True, slots=True)
class Cluster:
    """What one overlay brings into a cluster."""

    overlay: str
    renderer: str

    @property
    def manifests(self) -> list[Manifest]:
        """All of them."""
        return _rendered(self.overlay, self.renderer)

    def of(self, *kinds: str) -> list[Manifest]:
        """Those of some kinds."""
        return [manifest for manifest in self.manifests if manifest["kind"] in kinds]

    def one(self, kind: str, name: str) -> Manifest:
        """The one of this kind and name. Raises KeyError."""
        for manifest in self.of(kind):
            if manifest["metadata"]["name"] == name:
                return manifest
        raise KeyError(f"{kind}/{name}")

    def deployments(self) -> dict[str, Manifest]:
        """Those of the services, by name."""
        return {manifest["metadata"]["name"]: manifest for manifest in self.of("Deployment")}

    def workloads(self) -> list[Manifest]:
        """Everything that runs pods."""
        return self.of("Deployment", "StatefulSet")

    def settings(self) -> dict[str, str]:
        """The settings that all services share."""
        data: dict[str, str] = self.one("ConfigMap", "trunkline-settings")["data"]
        return data


every_cluster = pytest.mark.parametrize(
    "cluster", [Cluster(overlay, renderer) for overlay in OVERLAYS for renderer in RENDERERS], ids=str
)


def pod(workload: Manifest) -> Manifest:
    """The specification of a workload's pods."""
    spec: Manifest = workload["spec"]["template"]["spec"]
    return spec


def containers(workload: Manifest) -> list[Manifest]:
    """All of a workload's pods, its own before what stands beside it."""
    found: list[Manifest] = pod(workload)["containers"]
    return found


def container(workload: Manifest) -> Manifest:
    """The one for which a workload is there."""
    return containers(workload)[0]


def labels(workload: Manifest) -> dict[str, str]:
    """Those of a workload's pods."""
    found: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return found


def selects(selector: Manifest, labelled: dict[str, str]) -> bool:
    """Whether a label selector takes pods with these labels."""
    expressions = selector.get("matchExpressions", [])
    assert all(expression["operator"] == "In" for expression in expressions)
    return selector.get("matchLabels", {}).items() <= labelled.items() and all(
        labelled.get(expression["key"]) in expression["values"] for expression in expressions
    )


@cache
def _rendered(overlay: str, renderer: str) -> list[Manifest]:
    folder = tree() / "k8s/overlays" / overlay
    return load(folder) if renderer == "loader" else kubectl(folder)


def kubectl(folder: Path) -> list[Manifest]:
    """What `kubectl kustomize` makes of a folder, its hashes taken off again."""
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    manifests = list(yaml.safe_load_all(done.stdout))
    named = [manifest["metadata"]["name"] for manifest in manifests if manifest["kind"] in ("ConfigMap", "Secret")]
    plain = {name: re.sub(r"-[2456789bcdfghkmt]{10}$", "", name) for name in named}
    return [_renamed(manifest, plain) for manifest in manifests]


def _renamed(value: Any, plain: dict[str, str]) -> Any:
    match value:
        case dict():
            return {key: _renamed(inner, plain) for key, inner in value.items()}
        case list():
            return [_renamed(inner, plain) for inner in value]
    return plain.get(value, value) if isinstance(value, str) else value
