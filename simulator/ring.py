"""A whole system as separate processes: nats-server, the services of the Procfile, and the stand-ins if wanted."""

import asyncio
import atexit
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import aiohttp

from simulator import broker
from simulator.plan import ROOT, Plan, ProcessFailed, base_env, read_procfile
from simulator.process import Probe, Process
from simulator.standins.environment import vendor_env
from simulator.usage import Usage

_HOST = "127.0.0.1"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((_HOST, 0))
        port: int = listener.getsockname()[1]
        return port


class Ring:
    """Use as `async with Ring(plan) as ring`, or start and stop it by hand."""

    def __init__(
        self, plan: Plan | None = None, logs: Path | None = None, progress: Callable[[str], None] = lambda text: None
    ) -> None:
        """Logs go to the folder `logs`, else to a temporary one; `progress` gets lines for people."""
        self.plan = plan or Plan()
        self.auth_token = secrets.token_hex(16)
        self.processes: list[Process] = []
        """All that were started, also those that have ended."""
        self.keep_logs = False
        """`stop` leaves the temporary folder with the logs where it is."""
        self._folder = Path(tempfile.gettempdir()) / f"trunkline-ring-{secrets.token_hex(6)}"
        self.logs = logs.resolve() if logs else self._folder
        self._progress = progress
        self._ports: dict[str, int] = {}
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Ring":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.keep_logs = self.keep_logs or kind is not None
        await self.stop()

    @property
    def nats_url(self) -> str:
        """Where the broker listens."""
        return f"nats://{_HOST}:{self._ports['nats']}"

    @property
    def urls(self) -> list[str]:
        """The base URLs of the gateways that run."""
        return [self.url_of(process) for process in self.processes if process.name == "gateway" and process.running]

    @property
    def standins_url(self) -> str:
        """Where the stand-ins listen. Raises KeyError when the plan has none."""
        return f"http://{_HOST}:{self._ports['standins']}"

    def url_of(self, process: Process) -> str:
        """Where a process answers HTTP."""
        return f"http://{_HOST}:{self._ports[process.label]}"

    def find(self, name: str, index: int = 0) -> Process:
        """The process `index` (from 0) of those named `name`. Raises KeyError."""
        for process in self.processes:
            if (process.name, process.index) == (name, index):
                return process
        raise KeyError(f"no process {name}-{index}")

    async def start(self) -> None:
        """Start everything and wait until it is ready. Raises ProcessFailed after stopping what ran."""
        atexit.register(self.kill_all)
        self._folder.mkdir(mode=0o700)
        self.logs.mkdir(parents=True, exist_ok=True)
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2))
        try:
            await self._start_nats()
            if self.plan.standins is not None:
                await self._start_standins(self.plan.standins)
            names = [name for name, count in self.plan.counts.items() for _ in range(count)]
            started = [await self._launch(name) for name in names]
            await asyncio.gather(*(self._until_ready(process, f"{self.url_of(process)}/ready") for process in started))
        except BaseException:
            await self.stop()
            raise

    async def _start_nats(self) -> None:
        self._ports["nats"] = port = _free_port()
        command = broker.command(_HOST, port, self._folder / "jetstream")
        process = Process("nats", 0, command, base_env(), self.logs)
        await self._run(process)
        await self._await(process, lambda: broker.missing(_HOST, port))

    async def _start_standins(self, options: tuple[str, ...]) -> None:
        self._ports["standins"] = port = _free_port()
        command = [sys.executable, "-m", "simulator", "standins", "--port", str(port), *options]
        process = Process("standins", 0, command, base_env(), self.logs)
        await self._run(process)
        await self._until_ready(process, f"{self.standins_url}/health")

    async def add(self, name: str) -> Process:
        """Start one more process of the service `name` and wait until it is ready. Raises ProcessFailed."""
        process = await self._launch(name)
        await self._until_ready(process, f"{self.url_of(process)}/ready")
        return process

    async def _launch(self, name: str) -> Process:
        commands = read_procfile()
        if name not in commands:
            raise ProcessFailed(f"the Procfile has no {name!r}, only {', '.join(commands)}")
        index = sum(1 for process in self.processes if process.name == name)
        port = _free_port()
        process = Process(name, index, commands[name], {**self._env(), "PORT": str(port)}, self.logs)
        self._ports[process.label] = port
        await self._run(process)
        return process

    async def _run(self, process: Process) -> None:
        self._progress(f"starting {process.label} …")
        self.processes.append(process)
        await process.start()

    async def _until_ready(self, process: Process, url: str) -> None:
        await self._await(process, lambda: self._answers(url))

    async def _await(self, process: Process, probe: Probe) -> None:
        await process.ready(probe, self.plan.ready_s)
        self._progress(f"{process.label} ready ({time.monotonic() - process.started:.1f} s)")

    async def _answers(self, url: str) -> str:
        if self._http is None:
            return "the ring was stopped"
        try:
            async with self._http.get(url) as response:
                return "" if response.status == 200 else f"{response.status} {(await response.text())[:300]}"
        except (aiohttp.ClientError, TimeoutError) as error:
            return repr(error)

    def _env(self) -> dict[str, str]:
        return {
            **base_env(),
            "HOST": _HOST,
            "NATS_URL": self.nats_url,
            "TWILIO_AUTH_TOKEN": self.auth_token,
            "AGENTS_FILE": str(ROOT / "agents.yaml"),
            "LOG_FORMAT": "json",
            **self.plan.env,
            **(vendor_env(self.standins_url) if self.plan.standins is not None else {}),
        }

    async def kill(self, name: str, index: int = 0) -> None:
        """SIGKILL one process, as a crash would. Raises KeyError."""
        process = self.find(name, index)
        process.send(signal.SIGKILL)
        await process.ended(self.plan.stop_s)

    def usage(self) -> list[Usage]:
        """What each running process has used so far."""
        return [usage for process in self.processes if (usage := process.usage())]

    async def stop(self) -> None:
        """SIGTERM to all, SIGKILL to what is left after a while: services first, the broker last."""
        backstage = ("nats", "standins")
        services = [process for process in self.processes if process.name not in backstage]
        others = [process for process in self.processes if process.name in backstage]
        for group in (services, others):
            stopped = await asyncio.gather(*(process.stop(self.plan.stop_s) for process in group))
            for process, orderly in zip(group, stopped, strict=True):
                if not orderly:
                    self._progress(f"{process.label} did not stop within {self.plan.stop_s:g} s and was killed")
        if self._http is not None:
            await self._http.close()
            self._http = None
        atexit.unregister(self.kill_all)
        self._tidy()

    def _tidy(self) -> None:
        keep = self.keep_logs and self.logs == self._folder
        shutil.rmtree(self._folder / "jetstream" if keep else self._folder, ignore_errors=True)

    def kill_all(self) -> None:
        """Kill what runs, at once and without an event loop: the last resort of a crashing program."""
        for process in self.processes:
            process.kill_now()
        self._tidy()
