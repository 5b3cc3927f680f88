"""The WebSocket under Deepgram's SDK: picows, for a quarter of the CPU time of the SDK's own.

The SDK takes another transport as `transport_factory`, for all its clients of the process, and calls it without
waiting for a handshake: `open` does that. Nothing is compressed: that would more than double what the socket costs.
"""

from collections.abc import AsyncIterator, Mapping
from typing import cast

from picows.websockets import ClientConnection, ConnectionClosed, InvalidStatus, WebSocketException, connect

from services.stt.providers.deepgram_sdk import AsyncV1SocketClient, AsyncV2SocketClient

__all__ = ["CLOSE_S", "ConnectionClosed", "DeepgramSocket", "InvalidStatus", "WebSocketException", "under"]

CLOSE_S = 0.8
"""So long the other side may take to agree to the end."""
_LEAVE_S = 0.1


class DeepgramSocket:
    """One socket, as `deepgram.transport_interface.AsyncTransport` describes it."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        """Not connected. `headers` hold the key."""
        self._url = url
        self._headers = dict(headers)
        self._connection: ClientConnection | None = None

    async def open(self, timeout_s: float = 10.0) -> ClientConnection:
        """Shake hands, unless that is done. A handshake that is not over after `timeout_s` is given up soon after.

        Raises InvalidStatus for a refusal, WebSocketException, OSError.
        """
        if self._connection is None:
            self._connection = await self._shake_hands(timeout_s + _LEAVE_S)
        return self._connection

    async def _shake_hands(self, timeout_s: float) -> ClientConnection:
        try:
            return await connect(
                self._url,
                additional_headers=self._headers,
                user_agent_header=None,
                compression=None,
                proxy=None,
                # Beside what the caller waits: a cancellation alone leaves the connection open.
                open_timeout=timeout_s,
                close_timeout=CLOSE_S,
                # The key goes to nobody else.
                max_redirects=0,
            )
        except AssertionError:
            # What picows makes of a peer that hangs up before it has answered.
            raise ConnectionResetError("hung up during the handshake") from None

    async def send(self, data: str | bytes) -> None:
        """Send text or audio; waits while too much is on its way. Raises ConnectionClosed."""
        await (self._connection or await self.open()).send(data)

    async def recv(self) -> str | bytes:
        """The next message. Raises ConnectionClosed."""
        return await (await self.open()).recv()

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """All messages until the socket is closed as agreed. Raises ConnectionClosed for any other end."""
        async for message in await self.open():
            yield message

    async def close(self) -> None:
        """Agree to the end, or end it after CLOSE_S. Never raises."""
        if self._connection is not None:
            await self._connection.close()

    def abort(self) -> None:
        """End it at once."""
        if self._connection is not None:
            self._connection.transport.disconnect(False)


def under(client: AsyncV1SocketClient | AsyncV2SocketClient) -> DeepgramSocket:
    """The socket that the SDK's `client` uses."""
    return cast(DeepgramSocket, client._websocket)
