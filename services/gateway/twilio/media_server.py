"""Media sockets under uvicorn: picows takes the connection over when a peer asks for `/twilio/media/<call id>`.

uvicorn makes a web-socket protocol for each request to upgrade, hands it the transport and the request, and then has
the transport call it. picows parses frames in C and calls back for each; uvicorn's own protocols wake a task for each.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, cast
from urllib.parse import unquote

import structlog
import uvicorn
from picows import WSAutoPingStrategy, WSListener, WSUpgradeRequest
from picows.picows import WSProtocol  # type: ignore[attr-defined]
from uvicorn.server import ServerState

from services.gateway.twilio.media_socket import MediaSocket

log = structlog.get_logger()

MEDIA_PATH = "/twilio/media/"
Carry = Callable[[MediaSocket, str], Awaitable[None]]
"""Serves a socket of the call with this id, which nobody has checked, until it returns."""
_GOING_AWAY = 1012
_BROKEN = 1011
_DONE = 1000
_BUFFER = 2048
"""Bytes; it grows with a longer message."""
_CONNECTION = re.compile(rb"^connection:[^\r]*", re.IGNORECASE | re.MULTILINE)


class MediaProtocol(WSProtocol):  # type: ignore[misc]
    """One connection, from its request to upgrade on."""

    def __init__(
        self,
        carry: Carry,
        arrived: Callable[[], None],
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
    ) -> None:
        """`arrived` is called after each message. The last three are what uvicorn gives; the size of messages and the
        pings are as `config` says."""
        self._carry = carry
        self._arrived = arrived
        self._state = server_state
        self._config = config
        self._call_id = ""
        self._socket: MediaSocket | None = None
        super().__init__(
            host_port=None,
            ws_path=None,
            is_client_side=False,
            ws_listener_factory=self._accept,
            logger=logging.getLogger("picows"),
            disconnect_on_exception=True,
            websocket_handshake_timeout=None,
            enable_auto_ping=config.ws_ping_interval is not None,
            auto_ping_idle_timeout=config.ws_ping_interval or 0,
            auto_ping_reply_timeout=config.ws_ping_timeout or 0,
            auto_ping_strategy=WSAutoPingStrategy.PING_PERIODICALLY,
            enable_auto_pong=True,
            max_frame_size=config.ws_max_size,
            extra_headers=None,
            read_buffer_init_size=_BUFFER,
        )

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._state.connections.add(cast(Any, self))
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._state.connections.discard(cast(Any, self))
        super().connection_lost(error)

    def data_received(self, request: bytes) -> None:
        """The request to upgrade, from uvicorn; the transport reads what follows into picows' buffer."""
        # picows wants this one word, where a proxy may send a list; uvicorn has found the word in it.
        request = _CONNECTION.sub(b"Connection: Upgrade", request)
        while request:
            buffer = self.get_buffer(len(request))
            taken = min(len(buffer), len(request))
            buffer[:taken] = request[:taken]
            request = request[taken:]
            self.buffer_updated(taken)

    def _accept(self, request: WSUpgradeRequest) -> WSListener | None:
        """None is answered with 404."""
        path, _, _ = request.path.decode("latin-1").partition("?")
        self._call_id = unquote(path.removeprefix(MEDIA_PATH))
        if not path.startswith(MEDIA_PATH) or not self._call_id or "/" in path.removeprefix(MEDIA_PATH):
            return None
        return MediaSocket(self._config.ws_max_size, self._begin, self._arrived)

    def _begin(self, socket: MediaSocket) -> None:
        self._socket = socket
        task = asyncio.get_running_loop().create_task(self._serve(socket))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    async def _serve(self, socket: MediaSocket) -> None:
        try:
            await self._carry(socket, self._call_id)
        except Exception as error:
            log.error("media_socket_failed", call_id=self._call_id[:64], exc_info=error)
            socket.close(_BROKEN)
        finally:
            socket.close(_DONE)

    def shutdown(self) -> None:
        """The server ends; uvicorn calls it."""
        if self._socket is not None:
            self._socket.shut(_GOING_AWAY)
