"""Handlers that wait, for messages whose delivery does not."""

import asyncio
from collections import deque

from shared.bus import Handler


class InTurn:
    """Takes messages at any time and calls a handler with one after the other, in order."""

    def __init__(self, handler: Handler) -> None:
        """`handler` does not raise."""
        self._handler = handler
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._work: asyncio.Task[None] | None = None

    def take(self, subject: str, payload: bytes) -> None:
        """An AudioHandler."""
        self._waiting.append((subject, payload))
        if self._work is None:
            self._work = asyncio.create_task(self._handle())

    async def _handle(self) -> None:
        while self._waiting:
            await self._handler(*self._waiting.popleft())
        self._work = None

    async def drain(self) -> None:
        """Return when all that was taken is handled."""
        if self._work is not None:
            await asyncio.wait({self._work})
