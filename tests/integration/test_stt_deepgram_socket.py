"""The WebSocket under Deepgram's SDK, against servers that behave oddly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.stt.providers.deepgram_socket import DeepgramSocket, InvalidStatus


@asynccontextmanager
async def serving(*routes: web.RouteDef) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes(routes)
    async with TestServer(app) as server:
        yield str(server.make_url("")).replace("http", "ws")


@pytest.mark.parametrize("ends", ["abort", "close"])
async def test_a_server_that_hangs_up_during_the_handshake_is_a_lost_connection(ends: str) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.transport.abort() if ends == "abort" else writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        socket = DeepgramSocket(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {})
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(socket.open(), 5)
        await socket.close()


async def test_nothing_is_compressed_and_the_headers_are_sent() -> None:
    asked: list[tuple[str | None, str | None]] = []

    async def echo(request: web.Request) -> web.WebSocketResponse:
        asked.append((request.headers.get("Authorization"), request.headers.get("Sec-WebSocket-Extensions")))
        response = web.WebSocketResponse()
        await response.prepare(request)
        async for message in response:
            await response.send_str(f"{len(message.data)}")
            await response.close()
        return response

    async with serving(web.get("/", echo)) as url:
        socket = DeepgramSocket(url, {"Authorization": "Token k"})
        await socket.send(bytes(320))
        assert [message async for message in socket] == ["320"]
        await socket.close()
    assert asked == [("Token k", None)]


async def test_the_key_does_not_follow_a_redirect() -> None:
    async def elsewhere(request: web.Request) -> web.Response:
        raise web.HTTPFound("/there")

    reached = []

    async def there(request: web.Request) -> web.Response:
        reached.append(request)
        return web.Response()

    async with serving(web.get("/", elsewhere), web.get("/there", there)) as url:
        with pytest.raises(InvalidStatus) as refused:
            await DeepgramSocket(url, {}).open()
    assert refused.value.response.status_code == 302
    assert reached == []
