"""docker-compose.yml answers calls: the image built, every stage a container, several stt workers.

Needs a Docker engine; without one the tests fail and say so, since they were asked for by name.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.fakes import ROOT

_READY_WITHIN_S = 120


def _compose() -> list[str]:
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if plugin.returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    pytest.fail("neither `docker compose` nor `docker-compose` is installed")


class Stack:
    """The compose file's services under a project name of their own."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._command = [*_compose(), "-p", "trunkline-test"]
        self._env = {**os.environ, "PORT": str(port)}

    def run(self, *arguments: str) -> str:
        command = [*self._command, *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self._env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def until_ready(self) -> None:
        deadline = time.monotonic() + _READY_WITHIN_S
        said = "no answer"
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/ready", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except urllib.error.HTTPError as error:
                said = error.read().decode()
            except OSError as error:
                said = repr(error)
            time.sleep(0.5)
        pytest.fail(f"not ready after {_READY_WITHIN_S} s: {said}\n{self.run('logs', '--tail', '30')}")

    def simulator(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "simulator", *arguments, "--url", self.url]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    if subprocess.run(["docker", "version"], capture_output=True, check=False).returncode != 0:
        pytest.fail("no Docker engine answers: start one, or run `make test`, which needs none")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    made = Stack(port)
    try:
        made.run("up", "--build", "--detach", "--scale", "stt=3")
        made.until_ready()
        yield made
    finally:
        made.run("down", "--volumes", "--timeout", "10")


def test_a_call_is_answered(stack: Stack) -> None:
    done = stack.simulator("call")
    assert done.returncode == 0, done.stdout + done.stderr


def test_several_calls_get_their_own_answers_from_several_workers(stack: Stack) -> None:
    done = stack.simulator("load", "--calls", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    logs = stack.run("logs", "--no-color", "stt")
    granted = {line.split("|")[0] for line in logs.splitlines() if "lease_granted" in line}
    assert len(granted) > 1, logs


def test_nobody_is_root_and_every_service_is_healthy(stack: Stack) -> None:
    for service in ("gateway", "stt", "llm", "tts", "speech"):
        assert stack.run("exec", "-T", service, "id", "-u").strip() == "10001"
        assert health_of(stack.run("ps", "-q", service).split()[0]) == "healthy"


def health_of(container: str) -> str:
    """What the container's health check says, once it has said something."""
    command = ["docker", "inspect", "--format", "{{.State.Health.Status}}", container]
    deadline = time.monotonic() + _READY_WITHIN_S
    while True:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        if said != "starting" or time.monotonic() > deadline:
            return said
        time.sleep(0.5)
