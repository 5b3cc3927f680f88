"""The connection to ElevenLabs' speech, JSON in both directions."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol

import aiohttp
import msgspec
import structlog

from services.tts.providers.elevenlabs_messages import Answer, read

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

    def messages(self) -> AsyncIterator[Answer]:
        """What ElevenLabs sends, until the socket closes. Raises msgspec.DecodeError for what nobody understands."""

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
        await self._send(message)

    async def _send(self, message: dict[str, Any]) -> None:
        await self._socket.send_frame(msgspec.json.encode(message), aiohttp.WSMsgType.TEXT)

    async def messages(self) -> AsyncIterator[Answer]:
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                yield read(message.data)

    async def close(self) -> None:
        try:
            async with asyncio.timeout(2 * CLOSE_S):
                await self._send({"close_socket": True})
                await self._socket.close()
        except (OSError, TimeoutError) as error:
            log.debug("elevenlabs_gone", error=repr(error))
        finally:
            await self._http.close()
