"""The HTTP server under the gateway: uvicorn, with limits that fit a carrier's messages."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

MAX_MESSAGE = 64 * 1024
"""Bytes of one web-socket message; Twilio's are below 1 KiB. A longer one closes the socket with 1009."""
_CLOSE_WITHIN_S = 3


class _Server(uvicorn.Server):
    """uvicorn, but signals are the gateway's own: lines are drained before sockets close."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """Serves one application on one listening socket."""

    def __init__(self, app: FastAPI, listener: socket.socket) -> None:
        """`listener` is bound and listening."""
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._server = _Server(
            uvicorn.Config(
                app,
                ws="websockets-sansio",
                ws_max_size=MAX_MESSAGE,
                ws_per_message_deflate=False,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_CLOSE_WITHIN_S,
            )
        )

    def start(self) -> "asyncio.Task[None]":
        """Serve until `stop`; the task ends with the server."""
        return asyncio.create_task(self._server.serve(sockets=[self._listener]))

    def stop(self) -> None:
        """Finish the requests under way and close."""
        self._server.should_exit = True
