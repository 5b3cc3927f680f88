"""Tells those who wait that something happened, many times a second."""

import asyncio


def _wake(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)


class Bell:
    """Rings for all who wait at that moment. Waiting takes a future and a timer, no task."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Something happened."""
        for waiting in self._waiting:
            _wake(waiting)

    async def wait(self, timeout_s: float) -> None:
        """Return when it rings, at the latest after `timeout_s`."""
        loop = asyncio.get_running_loop()
        waiting = loop.create_future()
        timer = loop.call_later(max(0.0, timeout_s), _wake, waiting)
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            timer.cancel()
            self._waiting.discard(waiting)
