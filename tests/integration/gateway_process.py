"""A gateway as a process of its own on a real broker."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.fakes import ROOT
from tests.integration.gateway_peer import API_KEY, AUTH_TOKEN


class GatewayProcess:
    """`python -m services.gateway`."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._process = process
        self._log = log

    async def stop(self) -> int:
        """SIGTERM; its exit status."""
        self._process.send_signal(signal.SIGTERM)
        return await self.ended()

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        """Its exit status, as soon as it has ended."""
        return await asyncio.wait_for(self._process.wait(), 15)

    async def until_logged(self, event: str, count: int = 1) -> None:
        """Return when it has logged `event` so often."""
        async with asyncio.timeout(15):
            while self.written().count(event) < count:
                await asyncio.sleep(0.02)

    def written(self) -> str:
        """What it has logged."""
        return self._log.read_bytes().decode()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@asynccontextmanager
async def running(nats_url: str, port: int, log: Path, **environment: str) -> AsyncIterator[GatewayProcess]:
    """A gateway on `port` that is ready or will be; killed at the end if it still runs."""
    given = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "NATS_URL": nats_url,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
        "API_KEY": API_KEY,
        "AGENTS_FILE": str(ROOT / "agents.yaml"),
        **environment,
    }
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.gateway", env=given, cwd=log.parent, stdout=output, stderr=output
        )
    gateway = GatewayProcess(process, port, log)
    try:
        await gateway.until_logged("gateway_ready")
        yield gateway
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def carrier() -> AsyncIterator[aiohttp.ClientSession]:
    """A carrier's connections: each request on one of its own, as from many machines."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
        yield http
