"""One process of a system under test: started, watched until it is ready, measured, stopped."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path

import psutil

from simulator.leash import ANY
from simulator.plan import ROOT, ProcessFailed
from simulator.usage import Usage

_TAIL = 12
"""Lines of a dead process's log that are shown."""
_POLL_S = 0.05

Probe = Callable[[], Awaitable[str]]
"""Returns "" when the process is ready, else what it waits for."""


class Process:
    """One child process; its output goes to a file."""

    def __init__(
        self,
        name: str,
        index: int,
        command: Sequence[str],
        env: Mapping[str, str],
        folder: Path,
        cores: Collection[int] = (),
    ) -> None:
        """`command` runs in `folder` with nothing but `env` in its environment; the log goes there too.

        It runs on `cores` only; none: on any. Elsewhere than on Linux it runs on any.
        """
        self.name = name
        self.index = index
        self.log = folder / f"{name}-{index}.log"
        self.started = 0.0
        """When it was last started, on `time.monotonic`."""
        self._command = list(command)
        self._env = dict(env)
        self._folder = folder
        self._cores = ",".join(str(core) for core in sorted(cores)) or ANY
        self._log_from = 0
        self._process: asyncio.subprocess.Process | None = None
        self._watched: psutil.Process | None = None

    @property
    def label(self) -> str:
        """How people call it: `stt`, `stt-1`, …"""
        return f"{self.name}-{self.index}" if self.index else self.name

    @property
    def pid(self) -> int:
        """The process id. Raises ProcessFailed when it was not started."""
        if self._process is None:
            raise ProcessFailed(f"{self.label} was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it; `ready` waits for it. Raises OSError."""
        self.started = time.monotonic()
        # A leashed process also ends when this one is killed and can stop nothing.
        leashed = [sys.executable, "-m", "simulator.leash", str(os.getpid()), self._cores, *self._command]
        with self.log.open("ab") as log:
            self._log_from = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                *leashed,
                env={"PYTHONPATH": str(ROOT), **self._env},
                cwd=self._folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        with contextlib.suppress(psutil.NoSuchProcess):
            self._watched = psutil.Process(self._process.pid)

    async def ready(self, probe: Probe, timeout_s: float) -> None:
        """Ask `probe` until it says so. Raises ProcessFailed."""
        deadline = time.monotonic() + timeout_s
        while True:
            missing = await probe()
            if not self.running:
                raise ProcessFailed(f"{self.label} ended with status {self.status}\n{self.tail()}")
            if not missing:
                return
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{self.label} was not ready within {timeout_s:g} s: {missing}\n{self.tail()}")
            await asyncio.sleep(_POLL_S)

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs or before it was started."""
        return None if self._process is None else self._process.returncode

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"  {line}" for line in lines[-_TAIL:]) or "  (nothing in its log)"

    def said(self, text: str) -> bool:
        """Whether `text` is in its log since it was last started."""
        return self.log.exists() and text.encode() in self.log.read_bytes()[self._log_from :]

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        # psutil compares creation times, so that a process id used again is not hit; asyncio's own way
        # may reap the process behind the back of its watcher.
        if self.running and self._watched is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._watched.send_signal(number)

    async def ended(self, timeout_s: float) -> bool:
        """Wait for its end; False when it still runs after `timeout_s`."""
        if self._process is None:
            return True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), timeout_s)
        return not self.running

    async def stop(self, timeout_s: float) -> bool:
        """SIGTERM, and SIGKILL after `timeout_s`. False when it had to be killed."""
        self.send(signal.SIGTERM)
        # One that was paused must go on to hear it.
        self.send(signal.SIGCONT)
        if await self.ended(timeout_s):
            return True
        self.send(signal.SIGKILL)
        await self.ended(timeout_s)
        return False

    def kill_now(self) -> None:
        """Kill it without an event loop, for the very end of this process."""
        if self._watched is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._watched.kill()

    def usage(self) -> Usage | None:
        """CPU seconds and memory so far; None when it does not run."""
        if not self.running or self._watched is None:
            return None
        try:
            times, memory = self._watched.cpu_times(), self._watched.memory_info()
        except psutil.NoSuchProcess:
            return None
        return Usage(self.label, times.user + times.system, memory.rss / 1e6)
