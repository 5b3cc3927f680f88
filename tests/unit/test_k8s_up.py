"""k8s/overlays/local/up.sh, among programs that only note what they are asked: there is no kind here."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.manifests import SERVICES, Cluster, tree

LOCAL = "k8s/overlays/local"
NEEDED = ("sh", "grep", "dirname", "mkdir", "mv", "cat")
"""All else that the scripts may use."""
FAKE = """\
#!/bin/sh
echo "${0##*/} $*" >> "$NOTES"
case "${0##*/} $*" in
  $FAILS) exit 1 ;;
  "kind get clusters") echo $CLUSTERS ;;
  *"get deployments"*) echo $DEPLOYED ;;
esac
"""
KUBE = "kubectl --context kind-trunkline --namespace trunkline"


@dataclass(frozen=True)
class Run:
    """What came of it."""

    status: int
    said: str
    asked: list[str]


class Machine:
    """A PATH with nothing but fakes and what the scripts need."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self._notes = folder / "notes"
        self.bin.mkdir()
        for name in NEEDED:
            found = shutil.which(name)
            assert found is not None
            (self.bin / name).symlink_to(found)
        for name in ("docker", "kind", "kubectl"):
            (self.bin / name).write_text(FAKE)
            (self.bin / name).chmod(0o755)

    def up(self, *, fails: str = "-", clusters: str = "", deployed: str = "") -> Run:
        """Run the script; `fails` is the pattern of the commands that fail."""
        self._notes.write_text("")
        environment = {"PATH": str(self.bin), "PYTHON": sys.executable, "NOTES": str(self._notes)}
        environment |= {"FAILS": fails, "CLUSTERS": clusters, "DEPLOYED": deployed}
        command = [str(self.bin / "sh"), str(tree() / LOCAL / "up.sh")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return Run(done.returncode, done.stdout + done.stderr, self._notes.read_text().splitlines())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def after_the_checks(run: Run) -> list[str]:
    return [each for each in run.asked if not each.startswith("docker")]


def test_from_nothing_to_a_running_system(machine: Machine) -> None:
    run = machine.up()
    assert run.status == 0, run.said
    here = tree() / LOCAL
    images = " ".join(f"trunkline-{service}:dev" for service in SERVICES)
    workloads = ["statefulset/nats", *(f"deployment/{service}" for service in SERVICES)]
    assert after_the_checks(run) == [
        "kind get clusters",
        f"kind create cluster --config {here}/kind.yaml --wait 2m",
        f"kind load docker-image --name trunkline {images}",
        f"{KUBE} get deployments --output name",
        f"{KUBE} apply -k {here}",
        *(f"{KUBE} rollout status {workload} --timeout 5m" for workload in workloads),
    ]
    assert "make call URL=http://localhost:8080" in run.said


def test_a_second_run_keeps_the_cluster_and_takes_the_new_images(machine: Machine) -> None:
    run = machine.up(clusters="trunkline", deployed="deployment.apps/gateway")
    assert run.status == 0, run.said
    asked = after_the_checks(run)
    assert not [each for each in asked if "create cluster" in each]
    assert asked.index(f"{KUBE} rollout restart deployments") == asked.index(f"{KUBE} apply -k {tree() / LOCAL}") + 1


def test_another_cluster_of_a_similar_name_is_not_taken_for_it(machine: Machine) -> None:
    assert [each for each in machine.up(clusters="trunkline-2").asked if "create cluster" in each]


@pytest.mark.parametrize("name", ["docker", "kind", "kubectl"])
def test_what_is_not_installed_is_named(machine: Machine, name: str) -> None:
    (machine.bin / name).unlink()
    run = machine.up()
    assert (run.status, after_the_checks(run)) == (1, [])
    assert f"no {name} on the PATH (https://" in run.said


@pytest.mark.parametrize(
    ("fails", "told"),
    [("docker info", "no Docker engine answers"), ("*trunkline-llm:dev", "no image trunkline-llm:dev: make images")],
)
def test_nothing_is_made_without_an_engine_or_images(machine: Machine, fails: str, told: str) -> None:
    run = machine.up(fails=fails)
    assert (run.status, after_the_checks(run)) == (1, [])
    assert told in run.said


@pytest.mark.parametrize("fails", ["kind create*", "kind load*", "*apply*"])
def test_it_ends_where_something_fails(machine: Machine, fails: str) -> None:
    run = machine.up(fails=fails)
    assert run.status != 0
    assert not [each for each in run.asked if "rollout status" in each]


def test_what_does_not_get_ready_is_shown(machine: Machine) -> None:
    run = machine.up(fails="*status deployment/llm*")
    assert run.status == 1
    assert run.asked[-1] == f"{KUBE} get pods"
    assert "deployment/llm is not ready after 5m" in run.said


def test_it_waits_for_all_that_the_overlay_brings(machine: Machine) -> None:
    brought = {f"{each['kind'].lower()}/{each['metadata']['name']}" for each in Cluster("local", "loader").workloads()}
    asked = [each.split() for each in machine.up().asked if "rollout status" in each]
    assert {each[each.index("status") + 1] for each in asked} == brought


def test_the_cluster_is_that_of_kinds_configuration() -> None:
    assert yaml.safe_load((tree() / LOCAL / "kind.yaml").read_text())["name"] == "trunkline"
    assert os.access(tree() / LOCAL / "up.sh", os.X_OK)


@pytest.mark.parametrize("script", ["up.sh", "secrets.sh"])
def test_shellcheck_finds_nothing(script: str) -> None:
    done = subprocess.run(["shellcheck", str(tree() / LOCAL / script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
