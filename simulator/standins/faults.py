"""How a vendor fails on the sockets of a stand-in: at the handshake, and once they are open."""

import asyncio
from collections.abc import Callable
from itertools import cycle
from typing import Any

import msgspec
from aiohttp import WSMessage, WSMsgType, web

from simulator.standins.behaviour import Fault

_UNREADABLE = ("{oops", "[1, 2]", '"Hello?"', "7", "{}")


class VendorFails(Exception):
    """The vendor says that it cannot go on."""

    def __init__(self, status: str) -> None:
        """`status` is the one of HTTP that fits: 429 or 500."""
        super().__init__(status)
        self.status = status


def abort(request: web.Request) -> None:
    """Break the connection off, without a goodbye."""
    if request.transport is not None:
        request.transport.abort()


async def hang() -> None:
    """Never come back; the server cancels it when the client goes away."""
    await asyncio.Event().wait()


class FaultySocket:
    """A vendor's socket, whose fault is looked up before everything it does."""

    def __init__(self, fault: Callable[[], Fault], garbage: tuple[str, ...]) -> None:
        """`garbage` has the wrong shape, or is no message at all of this vendor."""
        # Offers of permessage-deflate are declined, as a server may (RFC 7692, section 5).
        self.socket = web.WebSocketResponse(max_msg_size=16 * 1024 * 1024, compress=False)
        self._fault = fault
        self._garbage = cycle((*_UNREADABLE, *garbage))
        self._request: web.Request | None = None
        self._patience = _Patience()

    async def open(self, request: web.Request) -> None:
        """Complete the handshake."""
        self._request = request
        await self.socket.prepare(request)

    async def receive(self, until: float) -> WSMessage:
        """What comes next. Raises VendorFails, and TimeoutError when nothing does until then on the loop's clock."""
        with self._patience.until(until):
            received = await self.socket.receive()
        if self._fault():
            await self._strike()
        return received

    async def send(self, message: dict[str, Any]) -> None:
        """Say `message`. Raises VendorFails, and ConnectionResetError when the client is gone."""
        if fault := self._fault():
            await self._strike()
        if fault == "garbage":
            await self.socket.send_str(next(self._garbage))
        else:
            await self.socket.send_frame(msgspec.json.encode(message), WSMsgType.TEXT)

    async def _strike(self) -> None:
        match self._fault():
            case "hang":
                await hang()
            case "drop" if self._request is not None:
                abort(self._request)
                raise ConnectionResetError("dropped")
            case "429" | "500" as status:
                raise VendorFails(status)


class _Patience:
    """Limits how long one task waits. Its timer is not set anew for each wait: most end long before."""

    def __init__(self) -> None:
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[Any] | None = None
        self._over = False

    def until(self, when: float) -> "_Patience":
        """For one `with`, which raises TimeoutError when it lasts until `when` on the loop's clock."""
        self._until = when
        return self

    def __enter__(self) -> None:
        self._waiting = asyncio.current_task()
        if self._timer is None or self._timer.when() > self._until:
            self._set()

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        task, self._waiting = self._waiting, None
        over, self._over = self._over, False
        # As asyncio.timeout does it: somebody else may have cancelled the task too.
        if over and task is not None and task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TimeoutError

    def _set(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(self._until, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._waiting is None:
            return
        if asyncio.get_running_loop().time() < self._until:
            self._set()
        else:
            self._over = True
            self._waiting.cancel()
