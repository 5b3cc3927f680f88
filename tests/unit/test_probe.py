"""The containers' health check: status 0 only for a process that answers 200."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from tests.fakes import ROOT


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(self.server.says if self.path == "/health" else 404)  # type: ignore[attr-defined]
            self.end_headers()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as made:
        Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def probed(port: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "shared.probe"]
    env = {**os.environ, "PORT": str(port)}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("says", "status"), [(200, 0), (503, 1)])
def test_what_health_says_is_the_status(server: HTTPServer, says: int, status: int) -> None:
    server.says = says  # type: ignore[attr-defined]
    assert probed(server.server_port).returncode == status


def test_nobody_there_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        done = probed(taken.getsockname()[1])
    assert done.returncode == 1
    assert done.stderr.startswith("no answer: ")
    assert len(done.stderr.splitlines()) == 1
