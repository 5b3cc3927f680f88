"""The connection to ElevenLabs' speech, JSON in both directions."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Protocol

import aiohttp
import structlog

log = structlog.get_logger()

CLOSE_S = 0.4
"""How long each side's goodbye may take."""


class Socket(Protocol):
    """A connection of one voice and one model."""

    @property
    def closed(self) -> bool:
        """Nothing can be sent any more."""

    async def send(self, **message: Any) -> None:
        """Send one message. Raises ConnectionError."""

    def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What ElevenLabs sends, until the socket closes. Raises ValueError for what is no JSON object."""

    async def close(self) -> None:
        """Say goodbye. Never raises, never takes longer than a second."""


class ElevenLabsSocket:
    """A multi-context socket."""

    def __init__(self, http: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Both belong to this object from now on."""
        self._http = http
        self._socket = socket

    @property
    def closed(self) -> bool:
        return self._socket.closed

    async def send(self, **message: Any) -> None:
        await self._socket.send_str(json.dumps(message))

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                decoded = json.loads(message.data)
                if not isinstance(decoded, dict):
                    raise ValueError("ElevenLabs sent no JSON object")
                yield decoded

    async def close(self) -> None:
        try:
            async with asyncio.timeout(2 * CLOSE_S):
                await self._socket.send_str(json.dumps({"close_socket": True}))
                await self._socket.close()
        except (OSError, TimeoutError) as error:
            log.debug("elevenlabs_gone", error=repr(error))
        finally:
            await self._http.close()
