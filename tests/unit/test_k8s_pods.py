"""What every pod of k8s/ may do, how it is watched, and how it leaves."""

from itertools import pairwise

from services.gateway import departure
from services.gateway.server import _CLOSE_WITHIN_S
from tests.kustomize import Manifest
from tests.manifests import NAME, SERVICES, Cluster, container, containers, every_cluster, labels, pod, selects

HANDED_OVER_WITHIN_S = departure.QUIET_WITHIN_S + departure.SILENT_WITHIN_S + departure._CLOSED_WITHIN_S
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def bytes_of(quantity: str) -> float:
    units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
    return float(quantity[:-2]) * units[quantity[-2:]]


def cores_of(quantity: str) -> float:
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def longest_s(probe: Manifest) -> int:
    """How long it fails before something is done about it."""
    waits: int = probe["periodSeconds"] * probe["failureThreshold"]
    return waits


@every_cluster
def test_the_services_are_there_and_what_is_in_their_pods(cluster: Cluster) -> None:
    assert set(cluster.deployments()) == set(SERVICES)
    for workload in cluster.workloads():
        monitored = workload["kind"] == "StatefulSet" and cluster.overlay != "local"
        own = "nats" if workload["kind"] == "StatefulSet" else "service"
        assert [each["name"] for each in containers(workload)] == ([own, "exporter"] if monitored else [own])
        assert "initContainers" not in pod(workload)
        assert labels(workload)[NAME] == workload["metadata"]["name"]
        assert selects(workload["spec"]["selector"], labels(workload))


@every_cluster
def test_the_images_are_those_of_the_services(cluster: Cluster) -> None:
    for name, deployment in cluster.deployments().items():
        image, _, tag = container(deployment)["image"].rpartition(":")
        assert image.rpartition("/")[2] == f"trunkline-{name}"
        assert (tag == "dev") == (cluster.overlay == "local")
        assert not {"command", "args"} & set(container(deployment)), "the image's entrypoint starts the service"


def assert_unprivileged(spec: Manifest) -> None:
    """Of a pod's specification."""
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["runAsGroup"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in spec["containers"]:
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & set(spec)
    assert all(set(volume) - {"name"} <= {"configMap", "emptyDir"} for volume in spec["volumes"])


@every_cluster
def test_no_pod_is_privileged(cluster: Cluster) -> None:
    for workload in cluster.workloads():
        assert_unprivileged(pod(workload))
        assert pod(workload)["securityContext"]["runAsUser"] == 10001


@every_cluster
def test_the_namespace_refuses_more(cluster: Cluster) -> None:
    (namespace,) = cluster.of("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@every_cluster
def test_every_pod_has_an_account_of_its_own_without_a_token(cluster: Cluster) -> None:
    for workload in cluster.workloads():
        account = cluster.one("ServiceAccount", workload["metadata"]["name"])
        assert pod(workload)["serviceAccountName"] == account["metadata"]["name"]
        assert account["automountServiceAccountToken"] is False
    assert not cluster.of("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")


@every_cluster
def test_every_container_has_probes_that_ask_its_port(cluster: Cluster) -> None:
    paths = {"startupProbe": "/health", "readinessProbe": "/ready", "livenessProbe": "/health"}
    for deployment in cluster.deployments().values():
        own = container(deployment)
        assert {kind: own[kind]["httpGet"] for kind in PROBES} == {
            kind: {"path": path, "port": "http"} for kind, path in paths.items()
        }
    for workload in cluster.workloads():
        own = container(workload)
        named = {port["name"] for port in own["ports"]}
        assert all(own[kind]["httpGet"]["port"] in named for kind in PROBES)
        waits = [longest_s(own[kind]) for kind in ("readinessProbe", "livenessProbe", "startupProbe")]
        assert all(shorter < longer for shorter, longer in pairwise(waits)), "not ready long before it is killed"
        for beside in containers(workload)[1:]:
            (port,) = beside["ports"]
            assert beside["startupProbe"]["tcpSocket"] == beside["livenessProbe"]["tcpSocket"] == {"port": port["name"]}
            assert "readinessProbe" not in beside, "the node would leave its Service with it"


@every_cluster
def test_a_hung_process_ends_by_itself_before_it_is_killed(cluster: Cluster) -> None:
    for deployment in cluster.deployments().values():
        assert longest_s(container(deployment)["livenessProbe"]) > float(cluster.settings()["HANG_EXIT_S"])


def assert_bounded(own: Manifest) -> None:
    """Of a container."""
    requests, limits = own["resources"]["requests"], own["resources"]["limits"]
    assert 0 < cores_of(requests["cpu"]) <= cores_of(limits["cpu"])
    assert 0 < bytes_of(requests["memory"]) <= bytes_of(limits["memory"])


@every_cluster
def test_every_container_has_requests_and_limits(cluster: Cluster) -> None:
    for workload in cluster.workloads():
        for each in containers(workload):
            assert_bounded(each)
        # An event loop is one thread: with less than a core it would stand still many times a second.
        assert cores_of(container(workload)["resources"]["limits"]["cpu"]) > 1


@every_cluster
def test_every_workload_has_a_budget_that_lets_a_node_be_drained(cluster: Cluster) -> None:
    budgets = cluster.of("PodDisruptionBudget")
    assert len(budgets) == len(cluster.workloads())
    for workload in cluster.workloads():
        (budget,) = (each for each in budgets if selects(each["spec"]["selector"], labels(workload)))
        assert budget["spec"]["maxUnavailable"] == 1


@every_cluster
def test_pods_spread_over_nodes_and_zones(cluster: Cluster) -> None:
    for workload in cluster.workloads():
        spread = {each["topologyKey"]: each for each in pod(workload)["topologySpreadConstraints"]}
        assert set(spread) == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
        for each in spread.values():
            assert selects(each["labelSelector"], labels(workload))
            assert NAME in {*each["labelSelector"]["matchLabels"], *each.get("matchLabelKeys", [])}
    if cluster.overlay in ("production", "keda"):
        nodes = pod(cluster.one("StatefulSet", "nats"))["topologySpreadConstraints"]
        assert nodes[0]["topologyKey"] == "kubernetes.io/hostname"
        assert nodes[0]["whenUnsatisfiable"] == "DoNotSchedule"


@every_cluster
def test_a_pod_has_time_to_drain(cluster: Cluster) -> None:
    drain_s = float(cluster.settings()["DRAIN_TIMEOUT_S"])
    for name, deployment in cluster.deployments().items():
        hook = container(deployment).get("lifecycle", {}).get("preStop", {"sleep": {"seconds": 0}})
        needed_s = hook["sleep"]["seconds"] + drain_s + HANDED_OVER_WITHIN_S + _CLOSE_WITHIN_S
        assert pod(deployment)["terminationGracePeriodSeconds"] > needed_s, name


@every_cluster
def test_a_gateway_answers_until_it_has_left_the_service(cluster: Cluster) -> None:
    hook = container(cluster.one("Deployment", "gateway"))["lifecycle"]["preStop"]
    assert hook["sleep"]["seconds"] >= 5


@every_cluster
def test_a_new_version_takes_no_place_away(cluster: Cluster) -> None:
    for deployment in cluster.deployments().values():
        assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        assert deployment["spec"]["minReadySeconds"] > 0


@every_cluster
def test_what_a_process_writes_has_a_place(cluster: Cluster) -> None:
    for deployment in cluster.deployments().values():
        assert {"name": "tmp", "mountPath": "/tmp"} in container(deployment)["volumeMounts"]
    for workload in cluster.workloads():
        claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        mounted = {mount["name"] for each in containers(workload) for mount in each.get("volumeMounts", [])}
        assert mounted == claims | {volume["name"] for volume in pod(workload)["volumes"]}
        for volume in pod(workload)["volumes"]:
            if "configMap" in volume:
                assert cluster.one("ConfigMap", volume["configMap"]["name"])["data"]
