"""A gateway as the simulated phone sees it, scripted by a test."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from twilio.request_validator import RequestValidator

TOKEN = "secret"
LOUD = b"\x10"
Script = Callable[["Stream"], Awaitable[None]]


class Stream:
    """One media socket, as the fake gateway sees it."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.messages: list[dict[str, Any]] = []
        self.closed = False
        self._changed = asyncio.Event()

    @property
    def sid(self) -> str:
        return str(self.messages[1]["streamSid"])

    def of(self, event: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["event"] == event]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await self._changed.wait()

    async def send(self, event: str, **body: object) -> None:
        await self.socket.send_json({"event": event, "streamSid": self.sid, **body})

    async def play(self, mulaw: bytes) -> None:
        await self.send("media", media={"payload": base64.b64encode(mulaw).decode()})

    async def read(self) -> None:
        async for message in self.socket:
            self.messages.append(json.loads(message.data))
            self.notify()
        self.closed = True
        self.notify()

    def notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class FakeGateway:
    """Answers webhooks with planned documents and runs a script on each media socket."""

    def __init__(self) -> None:
        self.url = ""
        self.documents: list[str] = []
        self.webhooks: list[dict[str, str]] = []
        self.refused = 0
        self.streams: list[Stream] = []
        self.opened = asyncio.Condition()
        self.script: Script | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/twilio/{kind}", self._webhook)
        app.router.add_get("/twilio/media", self._media)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def stream(self, index: int) -> Stream:
        async with asyncio.timeout(10), self.opened:
            await self.opened.wait_for(lambda: len(self.streams) > index)
        return self.streams[index]

    def connect(self) -> str:
        address = f"{self.url.replace('http', 'ws', 1)}/twilio/media"
        parameter = '<Parameter name="token" value="t1"/>'
        redirect = f'<Redirect method="POST">{self.url}/twilio/voice</Redirect>'
        return f'<Response><Connect><Stream url="{address}">{parameter}</Stream></Connect>{redirect}</Response>'

    async def _webhook(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        signature = request.headers.get("X-Twilio-Signature", "")
        if not RequestValidator(TOKEN).validate(str(request.url), form, signature):
            self.refused += 1
            return web.Response(status=403, text="wrong signature")
        self.webhooks.append({**form, "kind": request.match_info["kind"]})
        if request.match_info["kind"] == "status":
            return web.Response(status=204)
        return web.Response(text=self.documents.pop(0) if self.documents else self.connect())

    async def _media(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        stream = Stream(socket)
        async with self.opened:
            self.streams.append(stream)
            self.opened.notify_all()
        reading = asyncio.create_task(stream.read())
        await stream.until(lambda: len(stream.messages) >= 2)
        if self.script is not None:
            await self.script(stream)
        await reading
        return socket
