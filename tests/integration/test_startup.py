"""What stops a process at its start, in one line."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("service", ["gateway", "stt"])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "99999"),
        ("MAX_CALLS", "0"),
        ("STT_PROVIDER", "whisper"),
        ("PUBLIC_URL", "not a url"),
        ("LOG_LEVEL", "loud"),
        ("NATS_URL", "http://somewhere:1"),
    ],
)
def test_a_wrong_value_stops_the_process_with_one_line(service: str, variable: str, value: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", f"services.{service}"],
        env={"PATH": "", "PYTHONPATH": str(ROOT), variable: value, "ALLOW_UNSIGNED": "true"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert run.stderr.startswith(f"trunkline: {variable}: ")
    assert value not in run.stderr or variable == "PORT"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "TWILIO_AUTH_TOKEN"),
        ({"ALLOW_UNSIGNED": "true", "AGENTS_FILE": "missing.yaml"}, "AGENTS_FILE: missing.yaml"),
        ({"ALLOW_UNSIGNED": "true", "STT_PROVIDER": "deepgram"}, "DEEPGRAM_API_KEY"),
    ],
)
def test_the_gateway_refuses_to_start_on_what_would_fail_later(
    environment: dict[str, str], said: str, tmp_path: Path
) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "services.gateway"],
        env={"PATH": "", "PYTHONPATH": str(ROOT), **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert said in run.stderr


def test_a_port_that_another_program_has_stops_the_gateway() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        run = subprocess.run(
            [sys.executable, "-m", "services.gateway"],
            env={"PATH": "", "PYTHONPATH": str(ROOT), "ALLOW_UNSIGNED": "true", "HOST": "127.0.0.1", "PORT": port},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert run.returncode == 2
    assert run.stderr.startswith(f"trunkline: PORT: cannot listen on 127.0.0.1:{port}: ")
