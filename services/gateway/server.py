"""The HTTP server under the gateway: uvicorn, with limits that fit a carrier's messages."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import uvicorn
from fastapi import FastAPI

MAX_MESSAGE = 64 * 1024
"""Bytes of one web-socket message; Twilio's are below 1 KiB. A longer one closes the socket with 1009."""
_CLOSE_WITHIN_S = 3
_BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; several gateways may share a port, the kernel spreads the connections. Raises OSError."""
    return socket.create_server((host, port), backlog=_BACKLOG, reuse_port=True)


class _Server(uvicorn.Server):
    """uvicorn, but signals are the gateway's own: lines are drained before sockets close."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """Serves one application on one listening socket."""

    def __init__(
        self,
        app: FastAPI,
        web_sockets: Callable[..., asyncio.BaseProtocol],
        listener: socket.socket,
        trusted_proxies: str = "",
    ) -> None:
        """`listener` is bound and listening; `web_sockets` makes the protocol of each, as uvicorn's `ws` does.

        `trusted_proxies`: addresses or networks, separated by commas, whose X-Forwarded-* headers are believed; empty:
        nobody's, since any peer can write them.
        """
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._server = _Server(
            uvicorn.Config(
                app,
                ws=cast(Any, web_sockets),
                ws_max_size=MAX_MESSAGE,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=_BACKLOG,
                proxy_headers=bool(trusted_proxies),
                forwarded_allow_ips=trusted_proxies,
                timeout_graceful_shutdown=_CLOSE_WITHIN_S,
            )
        )

    def start(self) -> "asyncio.Task[None]":
        """Serve until `stop`; the task ends with the server."""
        return asyncio.create_task(self._server.serve(sockets=[self._listener]))

    def stop_listening(self) -> None:
        """Accept no more connections; those that are open stay open."""
        for server in getattr(self._server, "servers", []):
            server.close()
        self._listener.close()

    def stop(self) -> None:
        """Finish the requests under way and close."""
        self._server.should_exit = True
