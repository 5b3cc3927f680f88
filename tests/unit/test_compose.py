"""docker-compose.yml, the Dockerfile and the manifests speak of the same images, settings and users."""

import re
from typing import Any

import pytest
import yaml

from broker.users import variable
from services.gateway.__main__ import check
from shared.settings import Settings
from tests.fakes import ROOT

SERVICES = ("gateway", "stt", "llm", "tts", "speech")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
BROKER = (ROOT / "broker/Dockerfile").read_text()


def filled(value: str, **env: str) -> str:
    """A value as compose reads it with `env` as its only variables."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda match: env.get(match[1]) or match[2], str(value))


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_with_what_it_is_told(
    service: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in COMPOSE[service]["environment"].items():
        assert name.lower() in Settings.model_fields
        monkeypatch.setenv(name, filled(value, **{variable(service): "own"}))
    monkeypatch.setenv("AGENTS_FILE", str(ROOT / "agents.yaml"))
    settings = Settings()
    assert (settings.nats_user, settings.nats_password.get_secret_value()) == (service, "own")
    assert settings.nats_url == "nats://nats:4222"
    assert settings.drain_timeout_s < float(COMPOSE[service]["stop_grace_period"].removesuffix("s"))
    if service == "gateway":
        check(settings)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_an_image_of_its_own(service: str) -> None:
    assert COMPOSE[service]["image"] == f"trunkline-{service}:${{TAG:-dev}}"
    assert COMPOSE[service]["build"] == {"context": ".", "target": service}
    assert f"image: trunkline-{service}:dev" in (ROOT / f"k8s/base/{service}/deployment.yaml").read_text()
    target = DOCKERFILE.split(f"FROM service AS {service}\n")[1].split("FROM")[0]
    assert f'ENTRYPOINT ["tini", "--", "python", "-m", "services.{service}"]' in target
    assert f"COPY requirements/{service}.txt " in DOCKERFILE
    assert f"COPY services/{service} services/{service}" in DOCKERFILE


def test_compose_and_kubernetes_run_the_same_broker() -> None:
    (ours,) = re.findall(r"^ARG NATS=(\S+)$", BROKER, re.MULTILINE)
    assert f"image: {ours}\n" in (ROOT / "k8s/base/nats/statefulset.yaml").read_text()
    assert COMPOSE["nats"]["build"] == "broker"


def test_both_dockerfiles_stand_on_the_same_base() -> None:
    assert re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE)[:1] == re.findall(
        r"^ARG BASE=(\S+)$", BROKER, re.MULTILINE
    )


def test_the_broker_knows_everybodys_password() -> None:
    named = set(re.findall(r"\$(NATS_PASSWORD_\w+)", (ROOT / "broker/nats.conf").read_text()))
    assert set(COMPOSE["nats"]["environment"]) == named
    for name in SERVICES:
        assert COMPOSE[name]["environment"]["NATS_PASSWORD"] == COMPOSE["nats"]["environment"][variable(name)]


@pytest.mark.parametrize("name", sorted(COMPOSE))
def test_every_container_is_confined(name: str) -> None:
    made = COMPOSE[name]
    assert made["read_only"] is True
    assert made["cap_drop"] == ["ALL"]
    assert made["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in made
    assert all(str(port).startswith("127.0.0.1:") for port in made.get("ports", [])), "this machine only"


def test_prometheus_asks_the_services_by_their_names() -> None:
    jobs = yaml.safe_load((ROOT / "monitoring/prometheus.yml").read_text())["scrape_configs"]
    asked = {job["job_name"]: job["dns_sd_configs"][0] for job in jobs if "dns_sd_configs" in job}
    assert {name: (each["names"], each["port"]) for name, each in asked.items()} == {
        name: ([name], 8080) for name in SERVICES
    }
    (broker,) = [job["static_configs"] for job in jobs if "static_configs" in job]
    assert broker[0]["targets"] == ["nats-exporter:7777"]
    for name in ("prometheus", "nats-exporter", "grafana"):
        assert COMPOSE[name]["profiles"] == ["monitoring"]


def test_the_door_leads_to_the_gateways() -> None:
    door = (ROOT / "compose/haproxy.cfg").read_text()
    assert re.search(
        r"^\s+server-template gateway \S+ gateway:8080 resolvers docker init-addr none$", door, re.MULTILINE
    )
    assert "option httpchk GET /ready" in door
    assert COMPOSE["door"]["ports"] == ["127.0.0.1:${PORT:-8080}:8080"]
