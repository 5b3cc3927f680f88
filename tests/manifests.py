"""The manifests of k8s/, rendered: by `kubectl kustomize` where there is one, and by a loader that needs none.

The loader follows what these folders use of kustomize and refuses the rest. It adds no hashes to names.
"""

import atexit
import base64
import copy
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes import ROOT

Manifest = dict[str, Any]

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
    for name in ("k8s", "broker"):
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


def container(workload: Manifest) -> Manifest:
    """The one container of a workload's pods."""
    (only,) = pod(workload)["containers"]
    assert isinstance(only, dict)
    return only


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


_GENERATORS = {"ConfigMap": "configMapGenerator", "Secret": "secretGenerator"}
_FIELDS = ("apiVersion", "kind", "namespace", "labels", "resources", "components", "patches", "images")
_MERGED_BY = {
    "containers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "topologySpreadConstraints": "topologyKey",
}
"""Lists that the API merges by a key of their items; others are replaced."""
read: set[Path] = set()
"""Files that the loader has looked at."""


def load(folder: Path) -> list[Manifest]:
    """What a folder's kustomization makes. Raises ValueError for what this loader does not know."""
    return _onto([], folder)


def _documents(path: Path) -> list[Any]:
    return [document for document in yaml.safe_load_all(_text(path)) if document]


def _text(path: Path) -> str:
    read.add(path.resolve())
    return path.read_text()


def _onto(found: list[Manifest], folder: Path) -> list[Manifest]:
    (spec,) = _documents(folder / "kustomization.yaml")
    if unknown := set(spec) - {*_FIELDS, *_GENERATORS.values()}:
        raise ValueError(f"{folder}: {', '.join(unknown)}")
    for name in spec.get("resources", []):
        found += load(folder / name) if (folder / name).is_dir() else _documents(folder / name)
    for name in spec.get("components", []):
        found = _onto(found, folder / name)
    for kind, generators in _GENERATORS.items():
        for generator in spec.get(generators, []):
            _generate(found, folder, kind, generator)
    for patch in spec.get("patches", []):
        for change in _documents(folder / patch["path"]):
            found = _patched(found, change, patch.get("target"))
    for manifest in found:
        _finish(manifest, spec)
    return found


def _finish(manifest: Manifest, spec: Manifest) -> None:
    if "namespace" in spec and manifest["kind"] != "Namespace":
        manifest["metadata"]["namespace"] = spec["namespace"]
    for entry in spec.get("labels", []):
        _label(manifest, entry)
    for image in spec.get("images", []):
        _name_image(manifest, image)


def _generate(found: list[Manifest], folder: Path, kind: str, generator: Manifest) -> None:
    if unknown := set(generator) - {"name", "namespace", "behavior", "envs", "files", "options"}:
        raise ValueError(f"{folder}: {', '.join(unknown)}")
    data = {file: _text(folder / file) for file in generator.get("files", [])}
    for file in generator.get("envs", []):
        lines = [line for line in _text(folder / file).splitlines() if line and not line.startswith("#")]
        data |= dict(line.split("=", 1) for line in lines)
    if kind == "Secret":
        data = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    name = generator["name"]
    if generator.get("behavior") == "merge":
        (merged,) = (each for each in found if (each["kind"], each["metadata"]["name"]) == (kind, name))
        merged["data"] |= data
        return
    place = {"namespace": generator["namespace"]} if "namespace" in generator else {}
    made = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, **place}, "data": data}
    found.append(made | ({"type": "Opaque"} if kind == "Secret" else {}))


def _patched(found: list[Manifest], change: Any, target: Manifest | None) -> list[Manifest]:
    wanted = target or {"kind": change["kind"], "name": change["metadata"]["name"]}
    hit = [manifest for manifest in found if _matches(wanted, manifest)]
    if not hit:
        raise ValueError(f"nothing to patch: {wanted}")
    if isinstance(change, dict) and change.get("$patch") == "delete":
        return [manifest for manifest in found if not any(manifest is each for each in hit)]
    for manifest in hit:
        if isinstance(change, list):
            for operation in change:
                _operate(manifest, operation)
        else:
            body = {key: value for key, value in change.items() if key not in ("apiVersion", "kind", "metadata")}
            _merge(manifest, copy.deepcopy(body))
    return found


def _matches(wanted: Manifest, manifest: Manifest) -> bool:
    has = {"kind": manifest["kind"], "name": manifest["metadata"]["name"]}
    return all(re.fullmatch(pattern, has[key]) for key, pattern in wanted.items())


def _operate(manifest: Manifest, operation: Manifest) -> None:
    at: Any = manifest
    *way, last = (part.replace("~1", "/") for part in operation["path"].split("/")[1:])
    for part in way:
        at = at[int(part)] if isinstance(at, list) else at[part]
    key: Any = int(last) if isinstance(at, list) else last
    if operation["op"] == "remove":
        del at[key]
    elif operation["op"] == "add" or (operation["op"] == "replace" and at[key] is not None):
        at[key] = copy.deepcopy(operation["value"])
    else:
        raise ValueError(operation["op"])


def _merge(old: Manifest, change: Manifest) -> None:
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(old.get(key), dict):
            _merge(old[key], value)
        elif key in _MERGED_BY and isinstance(old.get(key), list):
            by = _MERGED_BY[key]
            for item in value:
                same: Iterator[Manifest] = (each for each in old[key] if each[by] == item[by])
                if (there := next(same, None)) is not None:
                    _merge(there, item)
                else:
                    old[key].append(item)
        else:
            old[key] = value


def _label(manifest: Manifest, entry: Manifest) -> None:
    spec = manifest.get("spec", {})
    for labelled in (
        manifest,
        *(spec[key] for key in ("template",) if key in spec),
        *spec.get("volumeClaimTemplates", []),
    ):
        labelled["metadata"].setdefault("labels", {}).update(entry["pairs"])


def _name_image(manifest: Manifest, image: Manifest) -> None:
    for each in manifest.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
        if each["image"].rpartition(":")[0] == image["name"]:
            each["image"] = f"{image['newName']}:{image['newTag']}"
