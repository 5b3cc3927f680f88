"""An https server in front of a gateway that lets nothing but /twilio through, as the production Ingress does."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import trustme
from aiohttp import web

Reply = dict[str, Any]
"""Arguments of `web.Response`."""


@dataclass(frozen=True, slots=True)
class Front:
    """The server, and who trusts it."""

    url: str
    trusting: ssl.SSLContext


def _application(port: int) -> web.Application:
    async def forward(request: web.Request) -> web.Response:
        async with (
            aiohttp.ClientSession() as http,
            http.request(
                request.method,
                f"http://127.0.0.1:{port}{request.path_qs}",
                data=await request.read(),
                headers=request.headers,
                allow_redirects=False,
            ) as answer,
        ):
            kept = {name: answer.headers[name] for name in ("Location", "Content-Type") if name in answer.headers}
            return web.Response(body=await answer.read(), status=answer.status, headers=kept)

    app = web.Application()
    app.router.add_route("*", "/twilio/{rest:.*}", forward)
    return app


@asynccontextmanager
async def https_front(port: int) -> AsyncIterator[Front]:
    """In front of what listens, or will listen, on `port` of loopback."""
    authority, server_tls = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_tls)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    runner = web.AppRunner(_application(port), access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_tls).start()
    try:
        yield Front(f"https://localhost:{runner.addresses[0][1]}", trusting)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def answering(voice: Reply, status: Reply, *, silent: bool = False) -> AsyncIterator[Front]:
    """Something behind https that answers the two webhooks so, whoever asks."""

    async def answer(request: web.Request) -> web.Response:
        if silent:
            await asyncio.Event().wait()
        return web.Response(**(voice if request.path == "/twilio/voice" else status))

    app = web.Application()
    app.router.add_post("/twilio/{name}", answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with https_front(runner.addresses[0][1]) as front:
        try:
            yield front
        finally:
            await runner.cleanup()
