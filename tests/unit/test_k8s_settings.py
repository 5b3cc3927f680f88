"""What the pods of k8s/ are told: every variable is a setting, every key is there or documented, nobody is let in."""

import re
from urllib.parse import urlsplit

import pytest

from broker import users
from services.gateway.__main__ import check
from shared.agents import load
from shared.settings import Settings
from tests.fakes import ROOT
from tests.kustomize import Manifest
from tests.manifests import SERVICES, Cluster, container, containers, every_cluster, pod, tree

VARIABLES = {name.upper() for name in Settings.model_fields}
README = (ROOT / "k8s/README.md").read_text()
VENDORS = {"stt": "deepgram", "llm": "openai", "tts": "elevenlabs"}


def references(workload: Manifest) -> dict[str, Manifest]:
    """The keys of Secrets that a pod's variables are read from, by variable."""
    return {
        each["name"]: each["valueFrom"]["secretKeyRef"]
        for own in containers(workload)
        for each in own.get("env", [])
        if "secretKeyRef" in each.get("valueFrom", {})
    }


def environment(cluster: Cluster, deployment: Manifest, *, optional: bool) -> dict[str, str]:
    """A service's variables; a Secret's key has some value, an optional one only if `optional`."""
    told: dict[str, str] = {}
    for each in container(deployment)["envFrom"]:
        told |= cluster.one("ConfigMap", each["configMapRef"]["name"])["data"]
    told |= {each["name"]: each["value"] for each in container(deployment)["env"] if "value" in each}
    for name, key in references(deployment).items():
        if optional or not key.get("optional"):
            told[name] = "hush"
    return told


@pytest.fixture
def settings_of(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> "Reader":
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return Reader(monkeypatch)


class Reader:
    """Reads settings as a process would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def read(self, environment: dict[str, str]) -> Settings:
        with self._monkeypatch.context() as patched:
            for name, value in environment.items():
                patched.setenv(name, value)
            return Settings()


@every_cluster
def test_every_variable_is_a_setting(cluster: Cluster) -> None:
    for deployment in cluster.deployments().values():
        own = [each["name"] for each in container(deployment)["env"]]
        assert len(own) == len(set(own))
        assert set(environment(cluster, deployment, optional=True)) <= VARIABLES
        assert pod(deployment)["enableServiceLinks"] is False, "a Service's variables would be taken for settings"


@every_cluster
def test_every_service_starts_with_what_it_is_told(cluster: Cluster, settings_of: Reader) -> None:
    for name, deployment in cluster.deployments().items():
        settings = settings_of.read(environment(cluster, deployment, optional=cluster.overlay != "local"))
        assert settings.nats_user == name
        assert settings.nats_password.get_secret_value() == "hush"
        if name in VENDORS:
            chosen = getattr(settings, name)
            assert chosen == ("offline" if cluster.overlay == "local" else VENDORS[name])
        if name == "gateway":
            check(settings.model_copy(update={"agents_file": tree() / "k8s/base/agents.yaml"}))


@pytest.mark.parametrize("overlay", ["production", "keda", "external"])
def test_a_missing_key_is_told_at_the_start(
    overlay: str, settings_of: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = Cluster(overlay, "loader")
    for name, vendor in VENDORS.items():
        told = environment(cluster, cluster.one("Deployment", name), optional=False)
        with pytest.raises(ValueError, match=f"{vendor.upper()}_API_KEY"):
            settings_of.read(told)
    gateway = environment(cluster, cluster.one("Deployment", "gateway"), optional=False)
    with pytest.raises(SystemExit):
        check(settings_of.read(gateway))
    assert "TWILIO_AUTH_TOKEN" in capsys.readouterr().err


@every_cluster
def test_unsigned_webhooks_are_allowed_on_one_machine_only(cluster: Cluster) -> None:
    allowed = {environment(cluster, each, optional=True)["ALLOW_UNSIGNED"] for each in cluster.deployments().values()}
    assert allowed == {"true" if cluster.overlay == "local" else "false"}


@every_cluster
def test_every_secret_is_made_or_documented(cluster: Cluster) -> None:
    made = {each["metadata"]["name"]: set(each["data"]) for each in cluster.of("Secret")}
    assert set(made) == ({"trunkline-nats", "trunkline-operator"} if cluster.overlay == "local" else set())
    for workload in cluster.workloads():
        for name, key in references(workload).items():
            assert key["name"] not in made or key["key"] in made[key["name"]]
            assert re.search(rf"\| `{key['name']}` \|.*`{key['key']}`", README), f"{name} in k8s/README.md"
            if made and not key.get("optional"):
                assert key["key"] in made[key["name"]]


@every_cluster
def test_a_secret_is_never_a_plain_value(cluster: Cluster) -> None:
    secret = {name.upper() for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert "NATS_PASSWORD" in secret
    for workload in cluster.workloads():
        told = {each["name"] for each in container(workload)["env"] if "value" in each}
        assert not told & secret
    assert not set(cluster.settings()) & secret


@every_cluster
def test_each_service_is_its_own_user_and_knows_no_other_password(cluster: Cluster) -> None:
    assert set(SERVICES) < set(users.USERS)
    for name, deployment in cluster.deployments().items():
        known = [key["key"] for key in references(deployment).values() if key["name"] == "trunkline-nats"]
        assert known == [users.variable(name)]


@every_cluster
def test_keys_are_given_only_to_those_who_use_them(cluster: Cluster) -> None:
    shared = {"API_KEY", "NATS_PASSWORD"}
    own = {"gateway": {"TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"}, "speech": set[str]()}
    own |= {stage: {f"{vendor.upper()}_API_KEY"} for stage, vendor in VENDORS.items()}
    assert {name: set(references(each)) - shared for name, each in cluster.deployments().items()} == own


def test_the_agents_are_those_of_the_repository() -> None:
    shipped = ROOT / "k8s/base/agents.yaml"
    assert shipped.read_text() == (ROOT / "agents.yaml").read_text(), "cp agents.yaml k8s/base/"


@every_cluster
def test_the_gateway_reads_the_agents_of_the_config_map(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    gateway = cluster.one("Deployment", "gateway")
    data = cluster.one("ConfigMap", "trunkline-agents")["data"]
    (mount,) = (each for each in container(gateway)["volumeMounts"] if each["name"] == "agents")
    folder, _, name = cluster.settings()["AGENTS_FILE"].rpartition("/")
    assert mount["mountPath"] == folder
    assert "subPath" not in mount, "an edit would not arrive"
    path = tmp_path_factory.mktemp("agents") / name
    path.write_text(data[name])
    assert load(path).default


@pytest.mark.parametrize("overlay", ["production", "keda", "external"])
def test_the_public_address_is_the_ingress(overlay: str) -> None:
    cluster = Cluster(overlay, "loader")
    ingress = cluster.one("Ingress", "gateway")["spec"]
    address = urlsplit(cluster.settings()["PUBLIC_URL"])
    assert address.scheme == "https"
    assert [rule["host"] for rule in ingress["rules"]] == [address.hostname]
    assert [each["hosts"] for each in ingress["tls"]] == [[address.hostname]]
    assert cluster.settings()["CALLS_PER_MINUTE_SOURCE"] == "0", "all calls come from the Ingress's address"


def test_the_secrets_of_the_local_overlay_stay_out_of_git() -> None:
    assert "k8s/overlays/local/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
