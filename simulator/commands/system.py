"""The system that a command calls: a running one, or a ring started for it."""

import argparse
import contextlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
from dotenv import dotenv_values

from broker.users import variable
from shared import nats_bus
from shared.bus import Bus
from simulator.carrier import Gateway
from simulator.commands import options, report
from simulator.commands.options import WrongUse
from simulator.conversation import Setup
from simulator.plan import CASCADE, OFFLINE, ROOT, Plan, configured_env
from simulator.usage import Usage, own

if TYPE_CHECKING:
    from simulator.ring import Ring

_HERE = ("localhost", "127.0.0.1", "::1")
_PASSWORD = variable("operator")


def _local_nats(here: Mapping[str, str | None]) -> str:
    """Where `make up` puts the broker: tried for a gateway on this machine when no other is named."""
    password = {**dotenv_values(ROOT / ".run" / "broker.env"), **here}.get(_PASSWORD)
    return f"nats://operator:{password}@localhost:4222" if password else "nats://localhost:4222"


@dataclass(slots=True)
class System:
    """What calls are placed with, and the ring behind it if this command started one."""

    setup: Setup
    ring: "Ring | None" = None
    before: dict[str, Usage] = field(default_factory=dict)

    def usage(self) -> list[Usage]:
        """CPU and memory by process, the simulator's own included; empty for a system that runs elsewhere."""
        if self.ring is None:
            return []
        return [*self.ring.usage(), own("simulator")]

    def cpu(self, call_s: float) -> list[str]:
        """What calls of `call_s` seconds in all have cost, in lines for people."""
        return report.cpu(self.before, self.usage(), call_s)

    def failed(self) -> None:
        """Keep the logs, and say where they are."""
        if self.ring is not None:
            self.ring.keep_logs = True
            report.progress(f"logs: {self.ring.logs}")


def _plan(args: argparse.Namespace, counts: Mapping[str, int], env: Mapping[str, str]) -> Plan:
    env = {"AGENTS_FILE": str(options.agents_file()), **env}
    if args.vendors == "standins":
        return Plan(counts, env, standins=())
    return Plan(counts, {**(OFFLINE if args.vendors == "offline" else configured_env()), **env})


async def _teach(http: aiohttp.ClientSession, url: str, texts: Sequence[str], args: argparse.Namespace) -> None:
    if not texts:
        return
    lesson = {"texts": list(texts), "voice": args.voice, "words_per_minute": args.wpm}
    async with http.post(f"{url}/standins/phrases", json=lesson) as response:
        response.raise_for_status()


async def _learn(http: aiohttp.ClientSession, args: argparse.Namespace, texts: Sequence[str]) -> None:
    try:
        await _teach(http, args.standins.rstrip("/"), texts, args)
    except (aiohttp.ClientError, ValueError) as error:
        raise WrongUse(f"--standins {args.standins}: {error or type(error).__name__}") from error


async def _connect(url: str) -> Bus:
    async def give_up(reason: str) -> None:
        raise WrongUse(f"--nats: {reason}")

    return await nats_bus.connect(url, "simulator", give_up)


@asynccontextmanager
async def running(args: argparse.Namespace, texts: Sequence[str]) -> AsyncIterator[System]:
    """The system of `--url`; `texts` are what callers will say. Raises WrongUse."""
    here = {**dotenv_values(".env"), **os.environ}
    token = args.token or here.get("TWILIO_AUTH_TOKEN") or ""
    if not args.url.startswith(("http://", "https://")):
        raise WrongUse("--url: http://… or https://… expected")
    if not token:
        report.progress("no --token and no TWILIO_AUTH_TOKEN: only a gateway with ALLOW_UNSIGNED answers")
    nats_url = args.nats or here.get("NATS_URL")
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        if args.standins:
            await _learn(http, args, texts)
        bus: Bus | None = None
        if nats_url:
            bus = await _connect(nats_url)
        elif urlsplit(args.url).hostname in _HERE:
            with contextlib.suppress(WrongUse):
                bus = await _connect(_local_nats(here))
        if bus is not None:
            stack.push_async_callback(bus.close)
        else:
            report.progress("no --nats: only the ear judges, and no transcript is shown")
        gateway = Gateway(args.url.rstrip("/"), token or "none")
        yield System(Setup(http, gateway, args.to, bus, options.patience(args)))


@asynccontextmanager
async def started(
    args: argparse.Namespace,
    texts: Sequence[str],
    counts: Mapping[str, int] = CASCADE,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[System]:
    """A ring of its own; `texts` are what callers will say. Raises ProcessFailed."""
    # Imported here: a call to a running system needs no psutil, which only requirements/dev.txt brings.
    from simulator.ring import Ring

    async with AsyncExitStack() as stack:
        ring = await stack.enter_async_context(Ring(_plan(args, counts, env or {}), args.logs, report.progress))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        if ring.plan.standins is not None:
            await _teach(http, ring.standins_url, texts, args)
        bus = await _connect(ring.nats_url)
        stack.push_async_callback(bus.close)
        url, *others = ring.urls
        gateway = Gateway(url, ring.auth_token, fallbacks=others)
        system = System(Setup(http, gateway, args.to, bus, options.patience(args)), ring)
        system.before = {usage.name: usage for usage in system.usage()}
        yield system
