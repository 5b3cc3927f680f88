"""What these folders use of kustomize, without kubectl: it refuses the rest, and adds no hashes to names."""

import base64
import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

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


def documents(path: Path) -> list[Any]:
    """The objects of one file."""
    return [document for document in yaml.safe_load_all(_text(path)) if document]


def _text(path: Path) -> str:
    read.add(path.resolve())
    return path.read_text()


def _onto(found: list[Manifest], folder: Path) -> list[Manifest]:
    (spec,) = documents(folder / "kustomization.yaml")
    if unknown := set(spec) - {*_FIELDS, *_GENERATORS.values()}:
        raise ValueError(f"{folder}: {', '.join(unknown)}")
    for name in spec.get("resources", []):
        found += load(folder / name) if (folder / name).is_dir() else documents(folder / name)
    for name in spec.get("components", []):
        found = _onto(found, folder / name)
    for kind, generators in _GENERATORS.items():
        for generator in spec.get(generators, []):
            _generate(found, folder, kind, generator)
    for patch in spec.get("patches", []):
        for change in documents(folder / patch["path"]):
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
    named = (file.rpartition("=") for file in generator.get("files", []))
    data = {key or file: _text(folder / file) for key, _, file in named}
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
    metadata = {"name": name}
    if "namespace" in generator:
        metadata["namespace"] = generator["namespace"]
    if labels := generator.get("options", {}).get("labels"):
        metadata["labels"] = dict(labels)
    made = {"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": data}
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
    if operation["op"] == "add" and last == "-":
        at.append(copy.deepcopy(operation["value"]))
        return
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
    spec = manifest.get("spec", {}) if entry.get("includeTemplates") else {}
    for labelled in (
        manifest,
        *(spec[key] for key in ("template",) if key in spec),
        *spec.get("volumeClaimTemplates", []),
    ):
        labelled["metadata"].setdefault("labels", {}).update(entry["pairs"])


def _name_image(manifest: Manifest, image: Manifest) -> None:
    for each in manifest.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
        if each["image"].rpartition(":")[0] == image["name"]:
            each["image"] = f"{image.get('newName', image['name'])}:{image['newTag']}"
