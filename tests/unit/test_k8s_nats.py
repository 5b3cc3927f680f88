"""The broker of k8s/: three nodes that find each other, with the users of broker/nats.conf and arguments it takes."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from broker import users
from tests.kustomize import Manifest
from tests.manifests import Cluster, container, every_cluster, make_secrets, pod, tree

PASSWORD = re.compile(r"^NATS_PASSWORD_[A-Z]+=[a-z][0-9a-z]{30,}$")
LAME_DUCK_S = 120
"""How long a lame duck's clients have to leave, unless told otherwise (nats-server, `lame_duck_duration`)."""


def nodes(cluster: Cluster) -> list[Manifest]:
    """The StatefulSet, or nothing with a broker of somebody else."""
    found = cluster.of("StatefulSet")
    assert len(found) == (0 if cluster.overlay == "external" else 1)
    return found


def argument(broker: Manifest, name: str) -> str:
    (value,) = (each.partition("=")[2] for each in container(broker)["args"] if each.startswith(f"--{name}="))
    return str(value)


def filled(text: str, told: dict[str, str]) -> str:
    """As the kubelet does it."""
    return re.sub(r"\$\((\w+)\)", lambda found: told[found[1]], text)


@every_cluster
def test_each_user_has_a_password_and_so_have_the_nodes(cluster: Cluster) -> None:
    for broker in nodes(cluster):
        keys = {
            each["name"]: each["valueFrom"]["secretKeyRef"]
            for each in container(broker)["env"]
            if "secretKeyRef" in each.get("valueFrom", {})
        }
        named = [*map(users.variable, (*users.USERS, users.ROUTE))]
        assert keys == {name: {"name": "trunkline-nats", "key": name} for name in named}
        asked = set(re.findall(r"\$(NATS_PASSWORD_\w+)", cluster.one("ConfigMap", "nats-config")["data"]["nats.conf"]))
        assert asked == set(map(users.variable, users.USERS))


@every_cluster
def test_the_configuration_is_that_of_the_repository(cluster: Cluster) -> None:
    for broker in nodes(cluster):
        assert cluster.one("ConfigMap", "nats-config")["data"] == {"nats.conf": users.CONFIG.read_text()}
        assert argument(broker, "config") == "/etc/nats/nats.conf"
        mounts = {each["name"]: each["mountPath"] for each in container(broker)["volumeMounts"]}
        assert mounts == {"config": "/etc/nats", "data": argument(broker, "store_dir")}


@every_cluster
def test_the_nodes_find_each_other(cluster: Cluster) -> None:
    for broker in nodes(cluster):
        count = broker["spec"]["replicas"]
        assert count == 3
        assert cluster.settings()["NATS_REPLICAS"] == str(count)
        headless = cluster.one("Service", broker["spec"]["serviceName"])
        assert headless["spec"]["clusterIP"] == "None"
        assert headless["spec"]["publishNotReadyAddresses"] is True
        assert broker["spec"]["podManagementPolicy"] == "Parallel"
        name, service = broker["metadata"]["name"], headless["metadata"]["name"]
        assert argument(broker, "routes").split(",") == [
            f"nats://route:$(NATS_PASSWORD_ROUTE)@{name}-{index}.{service}:6222" for index in range(count)
        ]


@every_cluster
def test_nats_server_takes_the_arguments(cluster: Cluster, tmp_path: Path) -> None:
    for broker in nodes(cluster):
        config = tmp_path / "nats.conf"
        config.write_text(cluster.one("ConfigMap", "nats-config")["data"]["nats.conf"])
        told = {each["name"]: each.get("value", "p0") for each in container(broker)["env"]}
        given = [filled(each, told).replace("/etc/nats/nats.conf", str(config)) for each in container(broker)["args"]]
        assert not [each for each in given if "$" in each or " " in each]
        beside = Path(sys.executable).parent / "nats-server"
        server = str(beside) if beside.exists() else shutil.which("nats-server")
        assert server is not None
        checked = subprocess.run([server, *given, "-t"], env=told, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        assert "is valid" in checked.stderr + checked.stdout


@every_cluster
def test_the_ports_are_those_of_the_arguments(cluster: Cluster) -> None:
    for broker in nodes(cluster):
        ports = {port["name"]: str(port["containerPort"]) for port in container(broker)["ports"]}
        assert ports == {
            "client": argument(broker, "port"),
            "route": argument(broker, "cluster").rpartition(":")[2],
            "monitor": argument(broker, "http_port"),
        }


@every_cluster
def test_a_node_leaves_as_a_lame_duck(cluster: Cluster) -> None:
    for broker in nodes(cluster):
        assert container(broker)["lifecycle"]["preStop"]["exec"]["command"] == ["/nats-server", "--signal", "ldm=1"]
        assert pod(broker)["terminationGracePeriodSeconds"] > LAME_DUCK_S


@every_cluster
def test_what_the_broker_keeps_survives_its_pods(cluster: Cluster) -> None:
    for broker in nodes(cluster):
        (claim,) = broker["spec"]["volumeClaimTemplates"]
        assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
        assert pod(broker)["securityContext"]["fsGroup"] == 10001


def test_the_secrets_of_one_machine_are_made_once() -> None:
    folder = make_secrets(tree())
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(made) == {"nats.env", "operator.env"}
    lines = made["nats.env"].splitlines()
    assert all(PASSWORD.match(line) for line in lines)
    assert [line.partition("=")[0] for line in lines] == [*map(users.variable, (*users.USERS, users.ROUTE))]
    assert len({line.partition("=")[2] for line in lines}) == len(lines)
    assert re.fullmatch(r"API_KEY=p[0-9a-f]{40}\n", made["operator.env"])
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    make_secrets(tree())
    assert {path.name: path.read_text() for path in folder.iterdir()} == made
