"""What `make up` runs: supervisord reads what honcho makes of the Procfile."""

import subprocess
import sys
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from broker.users import USERS, environment
from tests.fakes import ROOT


def exported(folder: Path, concurrency: str) -> dict[str, dict[str, list[str]]]:
    """The processes by group, as supervisord understands them, with their PORT."""
    command = [
        str(Path(sys.executable).parent / "honcho"),
        "-e",
        "/dev/null",
        "export",
        "-a",
        "trunkline",
        "-u",
        "root",
    ]
    options = ["-s", "/bin/sh", "-p", "8080", "-c", concurrency, "-t", str(ROOT / "tools")]
    subprocess.run([*command, *options, "supervisord", str(folder)], cwd=ROOT, check=True, capture_output=True)
    server = ServerOptions()
    server.realize(["-c", str(folder / "trunkline.conf")])
    return {
        group.name: {
            process.name: [process.environment["PORT"], process.command, process.environment.get("NATS_PASSWORD")]
            for process in group.process_configs
        }
        for group in server.process_group_configs
    }


def test_the_broker_stops_last_and_every_worker_has_a_port_and_a_user_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, password in environment({user: f"of-{user}" for user in USERS}).items():
        monkeypatch.setenv(name, password)
    groups = exported(tmp_path, "gateway=2,stt=2")
    assert list(groups) == ["broker", "workers", "gateways"]
    assert {name: process[0] for name, process in {**groups["gateways"], **groups["workers"]}.items()} == {
        "gateway-1": "8080",
        "gateway-2": "8080",
        "stt-1": "8180",
        "stt-2": "8181",
        "llm-1": "8280",
        "tts-1": "8380",
        "speech-1": "8480",
    }
    assert "python -m services.stt" in groups["workers"]["stt-2"][1]
    assert (groups["workers"]["stt-2"][2], groups["gateways"]["gateway-1"][2]) == ("of-stt", "of-gateway")
    assert "--jetstream" in groups["broker"]["nats-1"][1]
