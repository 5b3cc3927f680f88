"""The stack of docker-compose.yml, with stand-ins for the vendors on this machine; `make test-containers` builds it.

Needs a Docker engine; without one the tests fail and say so, since they were asked for by name.
"""

import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import pytest

from tests.containers.stack import Stack, docker
from tests.fakes import ROOT

API_KEY = "key-of-the-tests"
_LEADING = {f"{vendor}_{what}" for vendor in ("DEEPGRAM", "OPENAI", "ELEVENLABS") for what in ("BASE_URL", "API_KEY")}


@pytest.fixture(scope="session")
def engine() -> None:
    try:
        docker("version")
    except (OSError, subprocess.CalledProcessError):
        pytest.fail("no Docker engine answers: start one, or run `make test`, which needs none")


@contextmanager
def _standins(address: str) -> Iterator[Mapping[str, str]]:
    """Settings that lead a service to the stand-ins, which listen at `address` of this machine."""
    command = [sys.executable, "-m", "simulator", "standins", "--host", address, "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        settings: dict[str, str] = {}
        for line in process.stdout:
            name, _, value = line.strip().partition("=")
            settings[name] = value
            if settings.keys() >= _LEADING:
                break
        else:
            pytest.fail(f"the stand-ins do not run: {settings}")
        try:
            yield settings
        finally:
            process.terminate()


def _free_ports(count: int) -> list[str]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [str(each.getsockname()[1]) for each in sockets]


@pytest.fixture(scope="session")
def stack(engine: None) -> Iterator[Stack]:
    """Two gateways, three stt, two tts: all answer through the vendors' SDKs."""
    port, prometheus = _free_ports(2)
    made = Stack({"PORT": port, "PROMETHEUS_PORT": prometheus, "API_KEY": API_KEY})
    try:
        made.run("up", "--build", "--detach", "nats")
        with _standins(made.this_machine()) as settings:
            made.env.update(settings)
            made.run("up", "--detach", "--scale", "stt=3", "--scale", "tts=2")
            made.until_whole(stt=3, tts=2)
            yield made
    finally:
        made.run("--profile", "monitoring", "down", "--volumes", "--timeout", "10")
