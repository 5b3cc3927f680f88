"""docker-compose.yml as a project of its own, and what one asks it."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from simulator.readiness import whole
from tests.fakes import ROOT

SERVICES = ("gateway", "stt", "llm", "tts", "speech")
_PATIENCE_S = 120


def docker(*arguments: str) -> str:
    """What `docker` says, on both outputs. Raises CalledProcessError."""
    command = ["docker", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True).stdout


def until(seen: Callable[[], bool], what: str) -> None:
    """Ask twice a second until `seen`; after two minutes the test fails with `what`."""
    deadline = time.monotonic() + _PATIENCE_S
    while not seen():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {_PATIENCE_S} s: {what}")
        time.sleep(0.5)


def said_by(url: str) -> str:
    """The body of `url`; empty while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError:
        return ""


def _compose() -> list[str]:
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if plugin.returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    pytest.fail("neither `docker compose` nor `docker-compose` is installed")


@dataclass(slots=True)
class Stack:
    """The compose file's services under a project name of their own; `env` are its variables."""

    env: dict[str, str]
    _command: list[str] = field(default_factory=lambda: [*_compose(), "-p", "trunkline-test"])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.env['PORT']}"

    @property
    def standins(self) -> str:
        """Where the stand-ins of the vendors are."""
        return self.env["DEEPGRAM_BASE_URL"]

    def this_machine(self) -> str:
        """This machine's address in the network of the containers."""
        network = "{{(index .IPAM.Config 0).Gateway}}"
        return docker("network", "inspect", "trunkline-test_default", "--format", network).strip()

    def run(self, *arguments: str, **env: str) -> str:
        """What compose prints; a failure fails the test with all that it said."""
        command = [*self._command, *arguments]
        environment = {**os.environ, **self.env, **env}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def until_whole(self, **workers: int) -> None:
        """Wait for a gateway that knows so many workers of each stage."""
        said: dict[str, object] = {}

        def seen() -> bool:
            nonlocal said
            body = said_by(f"{self.url}/ready")
            said = json.loads(body) if body.startswith("{") else {}
            there = said.get("workers")
            return whole(said) and isinstance(there, dict) and all(there.get(k) == v for k, v in workers.items())

        until(seen, f"a gateway with {workers}: {said}\n{self.run('logs', '--tail', '30')}")

    def simulator(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A command of the simulator, to its end."""
        command = [sys.executable, "-m", "simulator", *arguments, "--url", self.url]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)

    @contextmanager
    def calling(self, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
        """The simulator while it runs; both its outputs come from `stdout`."""
        command = [sys.executable, "-m", "simulator", *arguments, "--url", self.url]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def containers(self, service: str) -> list[str]:
        """The ids of the service's containers that run."""
        return self.run("ps", "-q", service).split()

    def events(self, service: str, event: str) -> "list[Event]":
        """What the service's containers have logged as `event`, in the order of its time."""
        found = []
        for container in self.containers(service):
            for text in docker("logs", container).splitlines():
                if event in text and (log := json.loads(text))["event"] == event:
                    found.append(Event(log["timestamp"], container, log))
        return sorted(found, key=lambda event: event.at)


@dataclass(frozen=True, slots=True)
class Event:
    """A line of a container's log."""

    at: str
    container: str
    log: Mapping[str, object]

    @property
    def call_id(self) -> str:
        return str(self.log["call_id"])
