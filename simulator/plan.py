"""What a ring starts: how many processes of which service, with which settings."""

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values

from shared.settings import Settings

ROOT = Path(__file__).parent.parent
"""The repository, where `services` is importable."""
CASCADE = {"gateway": 1, "stt": 1, "llm": 1, "tts": 1}
OFFLINE = {"STT_PROVIDER": "offline", "LLM_PROVIDER": "offline", "TTS_PROVIDER": "offline"}
_KEPT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR")
"""What a process needs of this one's environment; everything else would make runs differ."""
_THE_RINGS_OWN = {
    "PORT",
    "HOST",
    "PUBLIC_URL",
    "TWILIO_AUTH_TOKEN",
    "ALLOW_UNSIGNED",
    "API_KEY",
    "CALLS_PER_MINUTE_CALLER",
    "CALLS_PER_MINUTE_SOURCE",
    "LOG_FORMAT",
}


class ProcessFailed(Exception):
    """A process cannot start, died, or was not ready in time; the message has the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start."""

    counts: Mapping[str, int] = field(default_factory=lambda: dict(CASCADE))
    """Processes by service, names as in the Procfile."""
    env: Mapping[str, str] = field(default_factory=lambda: dict(OFFLINE))
    """Settings of all services, over those of the ring itself."""
    standins: tuple[str, ...] | None = None
    """Options of `python -m simulator standins`: start it, and call the vendors' SDKs against it."""
    nodes: int = 1
    """Servers of the broker; three are a cluster in which everything is kept three times."""
    one_port: bool = False
    """All gateways listen on one port, and the kernel chooses which of them gets a connection."""
    ready_s: float = 30.0
    """How long a process may take to be ready."""
    stop_s: float = 10.0
    """How long it may take to stop before it is killed."""
    cores: frozenset[int] = frozenset()
    """Where the broker and the services run; none: anywhere."""
    standins_cores: frozenset[int] = frozenset()
    """Where the stand-ins run; none: anywhere."""
    monitored: bool = False
    """The broker tells over HTTP what it does, see `Ring.monitor_url`."""


def base_env() -> dict[str, str]:
    """The part of this process's environment that every child gets."""
    # A second thread of OpenBLAS spins while it waits for work that is done before it begins.
    return {"OPENBLAS_NUM_THREADS": "1"} | {name: os.environ[name] for name in _KEPT if name in os.environ}


def configured_env() -> dict[str, str]:
    """The settings of this machine's own environment and `.env`, but for those that the ring gives itself."""
    values = {**dotenv_values(ROOT / ".env"), **os.environ}
    names = {name.upper() for name in Settings.model_fields} - _THE_RINGS_OWN
    names = {name for name in names if not name.startswith("NATS_")}
    return {name: value for name in names if (value := values.get(name))}


def read_procfile(path: Path = ROOT / "Procfile") -> dict[str, list[str]]:
    """The commands of a Procfile by name, run by this Python. Raises ProcessFailed."""
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise ProcessFailed(f"{path}: {error.strerror}") from error
    commands = {}
    for line in lines:
        name, colon, command = line.partition(":")
        if colon and not line.startswith("#"):
            commands[name.strip()] = [sys.executable if word == "python" else word for word in shlex.split(command)]
    return commands
