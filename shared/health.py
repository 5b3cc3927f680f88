"""The HTTP side of a worker: `/health`, `/ready`, and `/metrics` for the operator."""

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from shared.operator_key import OperatorKey

Probe = Callable[[], dict[str, object]]
"""The worker's state as JSON; `ready` says whether it takes calls."""


def application(probe: Probe, key: OperatorKey) -> web.Application:
    """The three endpoints, answered from `probe`; `key` opens the metrics."""

    async def health(request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def ready(request: web.Request) -> web.Response:
        state = probe()
        return web.json_response(state, status=200 if state["ready"] else 503)

    async def metrics(request: web.Request) -> web.Response:
        if (refusal := key.refusal(request.headers.get("Authorization", ""))) is not None:
            return web.Response(text=refusal.reason, status=refusal.status)
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/health", health)
    app.router.add_get("/ready", ready)
    app.router.add_get("/metrics", metrics)
    return app


async def serve(host: str, port: int, probe: Probe, key: OperatorKey) -> Callable[[], Awaitable[None]]:
    """Listen on `host`:`port`; returns what stops it. Raises OSError when the port is taken."""
    runner = web.AppRunner(application(probe, key), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner.cleanup
