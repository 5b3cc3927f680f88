"""What docs/deploy.md has people type names things that are there, and does what it says."""

import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes import ROOT
from tests.kustomize import load
from tests.manifests import Cluster, container, tree
from tests.unit.test_k8s_pods import cores_of

PAGE = ROOT / "docs/deploy.md"
TEXT = PAGE.read_text()
COMMANDS = "\n".join(re.findall(r"^ *```\n(.*?)^ *```$", TEXT, re.DOTALL | re.MULTILINE))
"""All blocks of commands."""
CODE = "\n".join([COMMANDS, *re.findall(r"`([^`\n]+)`", TEXT)])
PRODUCTION = Cluster("production", "loader")
SHORT = {"deploy": "Deployment", "statefulset": "StatefulSet", "hpa": "HorizontalPodAutoscaler"}
FAKE_KUBECTL = """\
#!/bin/sh
printf '%s\\n' "$*" >> "$NOTES"
case "$*" in *create\\ secret*) cat >> "$NOTES" ;; esac
"""
KEYS = "TWILIO_ACCOUNT_SID=a\nTWILIO_AUTH_TOKEN=b\nDEEPGRAM_API_KEY=c\nOPENAI_API_KEY=d\nELEVENLABS_API_KEY=e\nPORT=1\n"


def step(title: str) -> str:
    """The commands of one numbered step of the cloud's."""
    found = re.search(rf"^\*\*\d\. {title}.*?```\n(.*?)```", TEXT, re.DOTALL | re.MULTILINE)
    assert found is not None, title
    return found[1]


def anchors(path: Path) -> set[str]:
    """Where links into a page may lead."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)]+)\)", TEXT))))
def test_every_link_leads_somewhere(link: str) -> None:
    if link.startswith("https://"):
        return
    name, _, anchor = link.partition("#")
    path = PAGE if not name else (PAGE.parent / name).resolve()
    assert path.exists()
    assert not anchor or anchor in anchors(path)


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", CODE, re.MULTILINE))
    assert "call" in named
    assert named <= targets


def test_every_file_exists() -> None:
    named = set(re.findall(r"(?:k8s|tests|base|overlays|broker)/[\w./-]*\w", CODE))
    assert "k8s/tools/nats-box.yaml" in named
    assert [name for name in named if not ((ROOT / name).exists() or (ROOT / "k8s" / name).exists())] == []


def test_every_workload_exists() -> None:
    named = re.findall(r"\b(deploy|statefulset|hpa)[/ ]([a-z]+)\b", COMMANDS)
    assert {("deploy", "stt"), ("statefulset", "nats"), ("hpa", "stt")} <= set(named)
    for kind, name in named:
        assert PRODUCTION.one(SHORT[kind], name)


def test_every_alert_exists_and_those_for_the_phone_are_critical() -> None:
    groups = yaml.safe_load((ROOT / "monitoring/rules.yml").read_text())["groups"]
    rules = {rule["alert"]: rule["labels"]["severity"] for group in groups for rule in group["rules"]}
    assert set(re.findall(r"Trunkline[A-Z]\w+", TEXT)) <= set(rules)
    rows = re.findall(r"^\| `(Trunkline\w+)` \|", TEXT, re.MULTILINE)
    assert len(rows) == 5
    assert {rules[row] for row in rows} == {"critical"}


def test_the_settings_get_the_host_and_the_images(tmp_path: Path) -> None:
    for folder in ("k8s", "broker", "monitoring"):
        shutil.copytree(tree() / folder, tmp_path / folder)
    told = {"HOST": "phone.test", "REGISTRY": "images.test/team", "TAG": "2.0"}
    edits = [line for line in step("Your settings").splitlines() if line.startswith("perl")]
    subprocess.run(["sh", "-ec", "\n".join(edits)], cwd=tmp_path, env={**os.environ, **told}, check=True)
    manifests = load(tmp_path / "k8s/overlays/production")
    assert "example.com" not in yaml.safe_dump([each for each in manifests if each["kind"] != "NetworkPolicy"])
    (ingress,) = [each for each in manifests if each["kind"] == "Ingress"]
    assert [ingress["spec"]["rules"][0]["host"], *ingress["spec"]["tls"][0]["hosts"]] == ["phone.test"] * 2
    (settings,) = [each for each in manifests if each["metadata"]["name"] == "trunkline-settings"]
    assert settings["data"]["PUBLIC_URL"] == "https://phone.test"
    services = {
        each["metadata"]["name"]: container(each)["image"] for each in manifests if each["kind"] == "Deployment"
    }
    assert services == {name: f"images.test/team/trunkline-{name}:2.0" for name in services}


def keys_asked_for(value: Any) -> set[tuple[str, str]]:
    """Secrets and their keys that manifests name."""
    match value:
        case {"secretKeyRef": {"name": str(name), "key": str(key)}}:
            return {(name, key)}
        case dict():
            return {found for inner in value.values() for found in keys_asked_for(inner)}
        case list():
            return {found for inner in value for found in keys_asked_for(inner)}
    return set()


def test_the_secrets_have_all_keys_that_are_asked_for(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    (tmp_path / "kubectl").write_text(FAKE_KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    (tmp_path / "python3").symlink_to(sys.executable)
    (tmp_path / ".env").write_text(KEYS)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "NOTES": str(notes)}
    environment["PYTHONPATH"] = str(ROOT)
    subprocess.run(["sh", "-ec", step("The Secrets")], cwd=tmp_path, env=environment, check=True)
    made, name = set(), ""
    for line in notes.read_text().splitlines():
        if found := re.search(r"create secret generic ([\w-]+) --from-env-file=/dev/stdin$", line):
            name = found[1]
        elif found := re.match(r"([A-Z_]+)=.", line):
            made.add((name, found[1]))
    assert made == keys_asked_for(PRODUCTION.manifests)


def test_the_fleets_are_those_of_the_manifests() -> None:
    rows = re.findall(r"^\| (?:up to )?([\d,]+) \| (\d+)[^|]*\| ([\d.]+) \|$", TEXT, re.MULTILINE)
    assert len(rows) == 4
    deployments, broker = PRODUCTION.deployments(), PRODUCTION.one("StatefulSet", "nats")
    cores = {name: cores_of(container(each)["resources"]["requests"]["cpu"]) for name, each in deployments.items()}
    (nats, *_) = broker["spec"]["template"]["spec"]["containers"]
    bounds = PRODUCTION.one("HorizontalPodAutoscaler", "stt")["spec"]
    full = 0.6 * int(PRODUCTION.settings()["MAX_CALLS"])
    echo = 2 * cores.pop("speech")
    for calls, pods, asked in rows:
        wanted = max(bounds["minReplicas"], math.ceil(int(calls.replace(",", "")) / full))
        assert int(pods) == wanted <= bounds["maxReplicas"]
        whole = wanted * sum(cores.values()) + echo + 3 * cores_of(nats["resources"]["requests"]["cpu"])
        assert float(asked) == pytest.approx(whole, abs=0.1)
