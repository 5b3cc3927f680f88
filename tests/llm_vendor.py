"""OpenAI's stand-in on a free port, for tests of those who call it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import SecretStr

from shared import scenario
from shared.settings import Settings
from simulator.standins.behaviour import Behaviour
from simulator.standins.openai import add_routes


@dataclass
class Vendor:
    """The stand-in and what a test may do to it."""

    url: str
    app: web.Application
    behaviour: Behaviour
    requests: int = 0
    peers: set[object] = field(default_factory=set)
    """The connections that requests came on."""
    _healed_at: int = 0
    _open: int = 0
    _idle: asyncio.Event | None = None

    async def seen_to_the_end(self) -> None:
        """Every request was answered or given up."""
        if self._idle is not None:
            await asyncio.wait_for(self._idle.wait(), 5)

    def heal_at(self, request: int) -> None:
        """Have no fault any more when the request of that number comes."""
        self._healed_at = request

    @web.middleware
    async def watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count a request."""
        self.requests += 1
        if self.requests == self._healed_at:
            self.behaviour.llm_fault = ""
        self.peers.add(request.get_extra_info("peername"))
        self._open += 1
        self._idle = self._idle or asyncio.Event()
        self._idle.clear()
        try:
            return await handler(request)
        finally:
            self._open -= 1
            if self._open == 0:
                self._idle.set()


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """`app` on a free port of the loopback; its base URL."""
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def vendor_open() -> AsyncIterator[Vendor]:
    """The stand-in, listening."""
    vendor = Vendor("", web.Application(), Behaviour())
    vendor.app.middlewares.append(vendor.watch)
    add_routes(vendor.app, vendor.behaviour, scenario.load("bella"))
    async with serving(vendor.app) as vendor.url:
        yield vendor


def settings_for(url: str, key: str = "stand-in", **limits: Any) -> Settings:
    """The settings of a process that calls the stand-in; `limits` as the settings name them."""
    return Settings(openai_base_url=url, openai_api_key=SecretStr(key), llm_provider=None, **limits)
