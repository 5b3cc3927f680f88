"""docker-compose.yml answers calls: the image built, every stage a container, several stt workers, two gateways.

Needs a Docker engine; without one the tests fail and say so, since they were asked for by name.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import ANY

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
        self._env = {**os.environ, "PORT": str(port), "LOG_LEVEL": "info", "LOG_FORMAT": "json"}

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
        return subprocess.run(
            self._simulator(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
        )

    @contextmanager
    def calling(self, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
        """The simulator while it runs; both its outputs come from `stdout`."""
        command = self._simulator(*arguments)
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def _simulator(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "simulator", *arguments, "--url", self.url]

    def containers(self, service: str) -> list[str]:
        """The ids of the service's containers."""
        return self.run("ps", "-q", service).split()


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
    assert done.returncode == 0, done.stdout + done.stderr + stack.run("logs", "--no-color", "gateway")
    logs = stack.run("logs", "--no-color", "stt")
    granted = {line.split("|")[0] for line in logs.splitlines() if "lease_granted" in line}
    assert len(granted) > 1, logs


def test_nobody_is_root_and_every_service_is_healthy(stack: Stack) -> None:
    assert stack.run("exec", "-T", "front", "id", "-u").strip() == "10001"
    for service in ("gateway", "stt", "llm", "tts", "speech"):
        assert stack.run("exec", "-T", service, "id", "-u").strip() == "10001"
        assert health_of(stack.containers(service)[0]) == "healthy"


def test_a_call_goes_on_when_its_gateway_is_killed(stack: Stack) -> None:
    gateways = stack.containers("gateway")
    assert len(gateways) == 2, "docker-compose.yml runs two gateways"
    with stack.calling("call", "--say", "what are your opening hours", "--say", "what is on your menu") as caller:
        shown = until_replied(caller)
        lost = connections(gateways)[-1]
        try:
            docker("kill", lost.container)
            shown += caller.communicate(timeout=120)[0]
        finally:
            docker("start", lost.container)
    assert caller.returncode == 0, shown
    survivor = next(gateway for gateway in gateways if gateway != lost.container)
    assert connections(gateways)[-1] == Connection(ANY, survivor, lost.call_id, lost.line + 1), shown


def until_replied(caller: "subprocess.Popen[str]") -> str:
    """What the simulator has shown when the first reply was heard: the call goes on behind it."""
    shown = ""
    assert caller.stdout is not None
    for line in caller.stdout:
        shown += line
        if "reply after" in line:
            return shown
    pytest.fail(f"the call ended early:\n{shown}")


@dataclass(frozen=True, slots=True, order=True)
class Connection:
    """A media stream that a gateway took, as it logged it."""

    at: str
    container: str
    call_id: str
    line: int


def connections(gateways: list[str]) -> list[Connection]:
    """Those of all `gateways`, in the order of their times."""
    found = []
    for container in gateways:
        for text in docker("logs", container).splitlines():
            if "call_connected" in text:
                log = json.loads(text)
                found.append(Connection(log["timestamp"], container, log["call_id"], log["line"]))
    return sorted(found)


def docker(*arguments: str) -> str:
    """What `docker` and the containers' logs say, on both outputs."""
    command = ["docker", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True).stdout


def health_of(container: str) -> str:
    """What the container's health check says, once it has said something."""
    deadline = time.monotonic() + _READY_WITHIN_S
    while True:
        said = docker("inspect", "--format", "{{.State.Health.Status}}", container).strip()
        if said != "starting" or time.monotonic() > deadline:
            return said
        time.sleep(0.5)
