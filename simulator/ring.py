"""A whole system as separate processes: nats-server, the services of the Procfile, and the stand-ins if wanted."""

import asyncio
import atexit
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import aiohttp

from shared.nats_connection import Broker
from simulator.broker import HOST, Nodes, free_port
from simulator.plan import ROOT, Plan, ProcessFailed, base_env, read_procfile
from simulator.process import Probe, Process
from simulator.readiness import asked, whole
from simulator.standins.environment import vendor_env
from simulator.usage import Usage


class Ring:
    """Use as `async with Ring(plan) as ring`, or start and stop it by hand."""

    def __init__(
        self, plan: Plan | None = None, logs: Path | None = None, progress: Callable[[str], None] = lambda text: None
    ) -> None:
        """Logs go to the folder `logs`, else to a temporary one; `progress` gets lines for people."""
        self.plan = plan or Plan()
        self.auth_token = secrets.token_hex(16)
        self.api_key = secrets.token_hex(16)
        """Opens the operator's endpoints of the gateways."""
        self.processes: list[Process] = []
        """All that were started, also those that have ended."""
        self.keep_logs = False
        """`stop` leaves the temporary folder with the logs where it is."""
        self._folder = Path(tempfile.gettempdir()) / f"trunkline-ring-{secrets.token_hex(6)}"
        self.logs = logs.resolve() if logs else self._folder
        self._progress = progress
        self._nodes = Nodes(self.plan.nodes, self._folder / "jetstream")
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
        """Where the broker listens, with the user for people, who may listen to everything."""
        return self._nodes.operators_url

    def broker(self, user: str) -> Broker:
        """What a process of the service `user` connects to the broker with."""
        return self._nodes.as_user(user)

    @property
    def urls(self) -> list[str]:
        """The base URLs of the gateways that run; one when they share a port."""
        running = [process for process in self.processes if process.name == "gateway" and process.running]
        return list(dict.fromkeys(self.url_of(process) for process in running))

    @property
    def standins_url(self) -> str:
        """Where the stand-ins listen. Raises KeyError when the plan has none."""
        return f"http://{HOST}:{self._ports['standins']}"

    @property
    def monitor_url(self) -> str:
        """Where the (first) broker tells what it does. Raises KeyError when the plan has it unmonitored.

        Source: NATS, "Monitoring"; `/varz` has the counts of messages.
        """
        return f"http://{HOST}:{self._ports['nats']}"

    def url_of(self, process: Process) -> str:
        """Where a process answers HTTP."""
        return f"http://{HOST}:{self._ports[process.label]}"

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
            await self._start_services()
        except BaseException:
            await self.stop()
            raise

    async def _start_services(self) -> None:
        """As many at a time as there are cores: what runs on this machine already keeps its share of them."""
        places = asyncio.Semaphore(os.cpu_count() or 1)

        async def one(name: str) -> None:
            async with places:
                await self.add(name)

        # A gateway is waited for until it has found workers.
        names = sorted(self.plan.counts, key="gateway".__eq__)
        tasks = [asyncio.create_task(one(name)) for name in names for _ in range(self.plan.counts[name])]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _start_nats(self) -> None:
        env = {**base_env(), **self._nodes.server_env}
        for index in range(self.plan.nodes):
            command = self._nodes.command(index)
            if self.plan.monitored and index == 0:
                self._ports["nats"] = free_port()
                command += ["--http_port", str(self._ports["nats"])]
            await self._run(Process("nats", index, command, env, self.logs, self.plan.cores))
        await self._await(self.find("nats"), self._nodes.missing)

    async def _start_standins(self, options: tuple[str, ...]) -> None:
        self._ports["standins"] = port = free_port()
        command = [sys.executable, "-m", "simulator", "standins", "--port", str(port), *options]
        process = Process("standins", 0, command, base_env(), self.logs, self.plan.standins_cores)
        await self._run(process)
        await self._until_ready(process)

    async def add(self, name: str) -> Process:
        """Start one more process of the service `name` and wait until it is ready. Raises ProcessFailed."""
        process = await self._launch(name)
        await self._until_ready(process)
        return process

    async def _launch(self, name: str) -> Process:
        commands = read_procfile()
        if name not in commands:
            raise ProcessFailed(f"the Procfile has no {name!r}, only {', '.join(commands)}")
        index = sum(1 for process in self.processes if process.name == name)
        shared = name == "gateway" and index > 0 and self.plan.one_port
        port = self._ports["gateway"] if shared else free_port()
        env = {**self._env(name), "PORT": str(port)}
        process = Process(name, index, commands[name], env, self.logs, self.plan.cores)
        self._ports[process.label] = port
        await self._run(process)
        return process

    async def _run(self, process: Process) -> None:
        self._progress(f"starting {process.label} …")
        self.processes.append(process)
        await process.start()

    async def _until_ready(self, process: Process) -> None:
        await self._await(process, lambda: self._missing(process))

    async def _await(self, process: Process, probe: Probe) -> None:
        await process.ready(probe, self.plan.ready_s)
        self._progress(f"{process.label} ready ({time.monotonic() - process.started:.1f} s)")

    async def _missing(self, process: Process) -> str:
        """What a process still lacks; "" when it is ready."""
        if process.name == "nats":
            return await self._nodes.missing_of(process.index)
        if process.name == "gateway" and self.plan.one_port:
            # Another gateway might answer at the port.
            return "" if process.said("gateway_ready") else "it has not said that it is ready"
        if self._http is None:
            return "the ring was stopped"
        if process.name == "standins":
            return await _missing_at(self._http, f"{self.url_of(process)}/health")
        state = await asked(self._http, self.url_of(process))
        return "" if whole(state) else f"{state or 'no answer'}"

    def _env(self, name: str) -> dict[str, str]:
        return {
            **base_env(),
            **self._nodes.client_env(name),
            "HOST": HOST,
            "TWILIO_AUTH_TOKEN": self.auth_token,
            "API_KEY": self.api_key,
            # All simulated callers come from one address.
            "CALLS_PER_MINUTE_CALLER": "0",
            "CALLS_PER_MINUTE_SOURCE": "0",
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

    async def terminate(self, name: str, index: int = 0, timeout_s: float = 60.0) -> int:
        """SIGTERM to one process; its exit status. Raises KeyError, and ProcessFailed when it does not end in time."""
        process = self.find(name, index)
        process.send(signal.SIGTERM)
        if not await process.ended(timeout_s) or process.status is None:
            raise ProcessFailed(f"{process.label} did not end within {timeout_s:g} s of SIGTERM\n{process.tail()}")
        return process.status

    async def restart(self, name: str, index: int = 0) -> None:
        """Start one process again, with SIGTERM before if it runs, and wait until it is ready. Raises ProcessFailed."""
        process = self.find(name, index)
        await process.stop(self.plan.stop_s)
        self._progress(f"starting {process.label} again …")
        await process.start()
        await self._until_ready(process)

    def pause(self, name: str, index: int = 0) -> None:
        """SIGSTOP one process: it hangs, with its connections open. Raises KeyError."""
        self.find(name, index).send(signal.SIGSTOP)

    def resume(self, name: str, index: int = 0) -> None:
        """SIGCONT: one that was paused goes on. Raises KeyError."""
        self.find(name, index).send(signal.SIGCONT)

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


async def _missing_at(http: aiohttp.ClientSession, url: str) -> str:
    try:
        async with http.get(url) as response:
            return "" if response.status == 200 else f"{response.status} {(await response.text())[:300]}"
    except (aiohttp.ClientError, TimeoutError) as error:
        return repr(error)
