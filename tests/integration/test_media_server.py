"""Media sockets on a real port, on both event loops: the hand-over from uvicorn to picows, and what they refuse."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import aiohttp
import picows
import pytest
import uvloop
from fastapi import FastAPI
from picows import WSMsgType

from services.gateway.server import MAX_MESSAGE, HttpServer, listen
from services.gateway.twilio import media_server, media_socket
from services.gateway.twilio.media_server import MediaProtocol
from services.gateway.twilio.media_socket import MediaSocket, SocketClosed

LOOPS = [uvloop.new_event_loop, asyncio.new_event_loop]
Scenario = Callable[["Door"], Coroutine[Any, Any, None]]


class Door:
    """A server whose sockets are served by `carry`."""

    def __init__(self, carry: Callable[[MediaSocket, str], Awaitable[None]]) -> None:
        app = FastAPI()
        app.add_api_route("/health", lambda: "alive")
        self.server = HttpServer(app, partial(MediaProtocol, carry, lambda: None), listen("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.port}"
        self.http: aiohttp.ClientSession
        self.sockets: list[aiohttp.ClientWebSocketResponse] = []

    async def open(self, path: str = "/twilio/media/c1", **headers: str) -> aiohttp.ClientWebSocketResponse:
        self.sockets.append(await self.http.ws_connect(self.url + path, headers=headers))
        return self.sockets[-1]


def serve(
    loop: Callable[[], asyncio.AbstractEventLoop],
    carry: Callable[[MediaSocket, str], Awaitable[None]],
    scenario: Scenario,
) -> None:
    async def run() -> None:
        door = Door(carry)
        serving = door.server.start()
        async with aiohttp.ClientSession() as door.http, asyncio.timeout(10):
            await scenario(door)
            for media in door.sockets:
                await media.close()
        door.server.stop()
        await asyncio.wait_for(serving, 10)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())


async def echo(socket: MediaSocket, call_id: str) -> None:
    """Sends back what comes, with the call's id before it."""
    over = asyncio.Event()
    sending: set[asyncio.Task[None]] = set()

    def receive(message: bytes | memoryview) -> None:
        sending.add(asyncio.create_task(socket.send(f"{call_id} {bytes(message).decode()}")))

    socket.listen(receive, over.set)
    await over.wait()
    await asyncio.gather(*sending)


async def until_over(socket: MediaSocket, call_id: str) -> None:
    """Reads, and says nothing."""
    over = asyncio.Event()
    socket.listen(lambda message: None, over.set)
    await over.wait()


class Frames(picows.WSListener):
    """A peer that sends frames as it likes."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[str | int] = asyncio.Queue()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            self.heard.put_nowait(frame.get_close_code().value)
        else:
            self.heard.put_nowait(frame.get_payload_as_utf8_text())

    @classmethod
    async def open(cls, door: Door) -> "tuple[Frames, picows.WSTransport]":
        transport, listener = await picows.ws_connect(cls, f"{door.url.replace('http', 'ws')}/twilio/media/c1")
        assert isinstance(listener, cls)
        return listener, transport


@pytest.mark.parametrize("loop", LOOPS)
def test_sockets_and_requests_share_a_port(
    loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[bytes] = []
    receive = MediaProtocol.data_received

    def copying(protocol: MediaProtocol, request: bytes) -> None:
        copied.append(request)
        receive(protocol, request)

    monkeypatch.setattr(MediaProtocol, "data_received", copying)

    async def scenario(door: Door) -> None:
        media = await door.open("/twilio/media/a%2Ab?x=1")
        for size in (1, 200, MAX_MESSAGE):
            await media.send_str("y" * size)
            assert await media.receive_str() == "a*b " + "y" * size
        assert len(copied) == 1, "messages are read into picows' buffer"
        async with door.http.get(f"{door.url}/health") as answer:
            assert answer.status == 200
        for path in ("/", "/twilio/media/", "/twilio/media/a/b", "/twilio/medial/a"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await door.open(path)
            assert refused.value.status == 404

    serve(loop, echo, scenario)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("headers", [{"Connection": "keep-alive, Upgrade"}, {"X-Long": "y" * 7000}])
def test_a_proxys_request_is_understood(loop: Callable[[], asyncio.AbstractEventLoop], headers: dict[str, str]) -> None:
    async def scenario(door: Door) -> None:
        request = {
            "Host": "x",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            **headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in request.items())
        reader, writer = await asyncio.open_connection("127.0.0.1", door.server.port)
        writer.write(f"GET /twilio/media/c1 HTTP/1.1\r\n{lines}\r\n".encode())
        assert await reader.readline() == b"HTTP/1.1 101 Switching Protocols\r\n"
        writer.close()

    serve(loop, echo, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_quick_peer_waits_until_it_is_read(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    may_read = asyncio.Event()
    received: list[str] = []

    async def carry(socket: MediaSocket, call_id: str) -> None:
        await may_read.wait()
        received.extend([(await socket.receive()).decode() for _ in range(3)])
        assert len(socket._waiting) < 20
        await echo(socket, call_id)

    async def scenario(door: Door) -> None:
        media = await door.open()
        for number in range(50):
            await media.send_str(f"{number:05d}" * 1000)
        may_read.set()
        assert [(await media.receive_str())[3:8] for _ in range(47)] == [f"{number:05d}" for number in range(3, 50)]
        assert [text[:5] for text in received] == ["00000", "00001", "00002"]

    serve(loop, carry, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_peer_that_resets_ends_the_socket(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    ended = asyncio.Event()

    async def carry(socket: MediaSocket, call_id: str) -> None:
        await until_over(socket, call_id)
        await socket.send("nobody hears this")
        socket.close(1000)
        with pytest.raises(SocketClosed):
            await socket.receive()
        ended.set()

    async def scenario(door: Door) -> None:
        _, transport = await Frames.open(door)
        transport.disconnect(graceful=False)
        await ended.wait()

    serve(loop, carry, scenario)


def test_a_message_in_pieces_is_put_together() -> None:
    async def scenario(door: Door) -> None:
        peer, transport = await Frames.open(door)
        for text in ("one", "two"):
            transport.send(WSMsgType.TEXT, text, fin=False)
            transport.send_ping(b"?")
            transport.send(WSMsgType.CONTINUATION, b"", fin=False)
            transport.send(WSMsgType.CONTINUATION, b"!", fin=True)
        assert {await peer.heard.get() for _ in range(4)} == {"?", "c1 one!", "c1 two!"}

    serve(uvloop.new_event_loop, echo, scenario)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([(WSMsgType.CONTINUATION, 1, True)], 1002),
        ([(WSMsgType.TEXT, 1, False), (WSMsgType.TEXT, 1, True)], 1002),
        ([(WSMsgType.TEXT, MAX_MESSAGE // 2 + 1, False), (WSMsgType.CONTINUATION, MAX_MESSAGE // 2, True)], 1009),
        ([(WSMsgType.TEXT, MAX_MESSAGE + 1, True)], 1009),
    ],
)
def test_what_is_no_message_closes_the_socket(frames: list[tuple[WSMsgType, int, bool]], code: int) -> None:
    async def scenario(door: Door) -> None:
        peer, transport = await Frames.open(door)
        for kind, size, fin in frames:
            transport.send(kind, b"y" * size, fin=fin)
        assert await peer.heard.get() == code

    serve(uvloop.new_event_loop, echo, scenario)


def test_a_peer_that_does_not_answer_pings_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = media_server.MediaProtocol.__init__

    def hasty(self: MediaProtocol, carry: Any, arrived: Any, config: Any, *args: Any, **more: Any) -> None:
        assert (config.ws_ping_interval, config.ws_ping_timeout) == (20.0, 20.0)
        config.ws_ping_interval = config.ws_ping_timeout = 0.05
        try:
            made(self, carry, arrived, config, *args, **more)
        finally:
            config.ws_ping_interval = config.ws_ping_timeout = 20.0

    monkeypatch.setattr(media_server.MediaProtocol, "__init__", hasty)

    async def scenario(door: Door) -> None:
        media = await door.http.ws_connect(f"{door.url}/twilio/media/c1", autoping=False)
        assert (await media.receive()).type is aiohttp.WSMsgType.PING
        assert (await media.receive()).type is aiohttp.WSMsgType.CLOSE

    serve(uvloop.new_event_loop, until_over, scenario)


def test_a_close_of_this_side_waits_for_the_peers_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert media_socket._CLOSE_WITHIN_S == 10
    monkeypatch.setattr(media_socket, "_CLOSE_WITHIN_S", 0.1)

    async def carry(socket: MediaSocket, call_id: str) -> None:
        socket.close(1008, "no")
        socket.close(1000)

    async def scenario(door: Door) -> None:
        media = await door.http.ws_connect(f"{door.url}/twilio/media/c1", autoclose=False)
        message = await media.receive()
        assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 1008, "no")
        assert (await media.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)

    serve(uvloop.new_event_loop, carry, scenario)


@pytest.mark.parametrize("code", [1000, 1001, 4000])
def test_a_close_of_the_peer_is_answered_and_told(code: int) -> None:
    codes: list[int] = []

    async def carry(socket: MediaSocket, call_id: str) -> None:
        await until_over(socket, call_id)
        codes.append(socket.code)

    async def scenario(door: Door) -> None:
        media = await door.open()
        assert await media.close(code=code)
        assert media.close_code == code
        assert codes == [code]

    serve(uvloop.new_event_loop, carry, scenario)


def test_what_serves_a_socket_may_fail() -> None:
    async def carry(socket: MediaSocket, call_id: str) -> None:
        raise ValueError(call_id)

    async def scenario(door: Door) -> None:
        assert (await (await door.open()).receive()).data == 1011

    serve(uvloop.new_event_loop, carry, scenario)


def test_the_servers_end_closes_the_sockets() -> None:
    async def scenario(door: Door) -> None:
        media = await door.open()
        await media.send_str("x")
        await media.receive_str()
        door.server.stop()
        assert (await media.receive()).data == 1012

    serve(uvloop.new_event_loop, echo, scenario)


async def test_a_slow_peer_is_waited_for() -> None:
    socket = MediaSocket(100, lambda socket: None, lambda: None)
    socket.pause_writing()
    sending = asyncio.create_task(socket.send("x"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not sending.done()
    socket._over = True
    socket.resume_writing()
    await sending
