"""What is in the images, and how their processes run."""

import json
import subprocess
import time

import pytest

from tests.containers.stack import SERVICES, Stack, docker, until

WITHOUT = {
    "gateway": {"onnxruntime", "numpy", "openai", "deepgram", "elevenlabs", "pocketsphinx", "espeakng_loader"},
    "stt": {"onnxruntime", "openai", "elevenlabs", "fastapi", "twilio", "espeakng_loader"},
    "llm": {"onnxruntime", "numpy", "deepgram", "elevenlabs", "fastapi", "twilio", "pocketsphinx", "espeakng_loader"},
    "tts": {"onnxruntime", "openai", "deepgram", "fastapi", "twilio", "pocketsphinx"},
    "speech": {"onnxruntime", "numpy", "openai", "deepgram", "elevenlabs", "fastapi", "twilio"},
}


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_has_its_own_dependencies_and_no_others(stack: Stack, service: str) -> None:
    look = "import importlib.util as u, json, sys; print(json.dumps([n for n in sys.argv[1:] if u.find_spec(n)]))"
    container = stack.containers(service)[0]
    assert json.loads(docker("exec", container, "python", "-c", look, *sorted(WITHOUT[service]), "aiohttp")) == [
        "aiohttp"
    ]
    others = {f"services.{other}" for other in SERVICES} - {f"services.{service}"}
    assert json.loads(docker("exec", container, "python", "-c", look, *others, f"services.{service}")) == [
        f"services.{service}"
    ]
    assert docker("exec", container, "sh", "-c", "ls /app").split() == [
        "agents.yaml",
        "scenarios",
        "services",
        "shared",
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_says_what_it_is(stack: Stack, service: str) -> None:
    (image,) = json.loads(docker("image", "inspect", f"trunkline-{service}:dev"))
    labels = image["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == f"trunkline-{service}"
    assert labels.keys() >= {
        f"org.opencontainers.image.{name}" for name in ("description", "version", "revision", "base.name", "vendor")
    }
    assert image["Config"]["User"] == "10001:10001"
    assert not any("KEY" in name or "TOKEN" in name for name in image["Config"]["Env"])


def test_everybody_is_a_plain_user_on_a_file_system_that_cannot_be_written(stack: Stack) -> None:
    for service in (*SERVICES, "nats", "door"):
        (made,) = json.loads(docker("inspect", stack.containers(service)[0]))
        assert made["Config"]["User"] not in ("", "0", "root"), service
        assert made["HostConfig"]["ReadonlyRootfs"], service
        assert made["HostConfig"]["CapDrop"] == ["ALL"], service
        assert "no-new-privileges:true" in made["HostConfig"]["SecurityOpt"], service
        assert not made["HostConfig"]["Privileged"], service
    for service in SERVICES:
        assert docker("exec", stack.containers(service)[0], "id", "-u").strip() == "10001"


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_is_healthy(stack: Stack, service: str) -> None:
    container = stack.containers(service)[0]
    assert docker("exec", container, "cat", "/proc/1/comm").strip() == "tini"
    until(
        lambda: docker("inspect", "--format", "{{.State.Health.Status}}", container).strip() == "healthy",
        f"{service} healthy",
    )


@pytest.mark.parametrize("service", SERVICES)
def test_a_signal_ends_a_process_that_still_waits_for_its_broker(stack: Stack, service: str) -> None:
    command = ("run", "--detach", "--rm", "-e", "ALLOW_UNSIGNED=true", "-e", "NATS_URL=nats://127.0.0.1:4")
    container = docker(*command, f"trunkline-{service}:dev").strip()
    until(lambda: "waiting_for_broker" in docker("logs", container), "its log")
    asked = time.monotonic()
    waiting = subprocess.Popen(["docker", "wait", container], stdout=subprocess.PIPE, text=True)
    docker("stop", "--time", "60", container)
    assert int(waiting.communicate(timeout=60)[0]) == 0
    assert time.monotonic() - asked < 30, "it ended by itself, not by the engine's patience"


def test_help_needs_no_setting(stack: Stack) -> None:
    for service in SERVICES:
        assert f"python -m services.{service}" in docker("run", "--rm", f"trunkline-{service}:dev", "--help")
