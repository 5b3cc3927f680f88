"""A gateway on real sockets, and the peer on Twilio's side that may misbehave."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4
from xml.etree.ElementTree import Element, fromstring

import aiohttp
from pydantic import SecretStr
from twilio.request_validator import RequestValidator

from services.gateway.app import Gateway, build
from services.gateway.departure import leave
from services.gateway.server import HttpServer, listen
from shared.messages import CallStarted
from shared.nats_bus import NatsBus
from shared.settings import Settings
from shared.stage import StageWorker
from simulator.readiness import asked, whole
from tests.fakes import ROOT, FakeStage, Heard

AUTH_TOKEN = "secret-of-the-account"
API_KEY = "key-of-the-operator"


@dataclass
class Peer:
    """Talks to one gateway as Twilio would, or worse."""

    bus: NatsBus
    http: aiohttp.ClientSession
    url: str
    stages: dict[str, FakeStage]
    workers: dict[str, StageWorker]
    gateway: Gateway | None = None
    """When it runs in this process."""

    async def post(self, path: str, form: dict[str, str], signature: str | None = None) -> aiohttp.ClientResponse:
        """A signed webhook."""
        url = self.url + path
        right: str = RequestValidator(AUTH_TOKEN).compute_signature(url, form)
        headers = {"X-Twilio-Signature": right if signature is None else signature}
        return await self.request("POST", path, headers, form)

    async def request(
        self, method: str, path: str, headers: dict[str, str], form: dict[str, str] | None = None
    ) -> aiohttp.ClientResponse:
        """Any request; its answer is read."""
        answer = await self.http.request(method, self.url + path, data=form, headers=headers)
        await answer.read()
        return answer

    async def operate(self, method: str, path: str, key: str = API_KEY) -> aiohttp.ClientResponse:
        """An operator's request."""
        return await self.request(method, path, {"Authorization": f"Bearer {key}"})

    async def ready(self) -> None:
        """Return when the gateway has heard of a worker of each stage."""
        async with asyncio.timeout(5):
            while not whole(await asked(self.http, self.url)):
                await asyncio.sleep(0.02)

    async def ring(
        self, call_id: str | None = None, to: str = "+15550100", caller: str = "+49123"
    ) -> tuple[str, Element]:
        """Place a call; its id and the TwiML."""
        call_id = call_id or f"CA{uuid4().hex}"
        answer = await self.post("/twilio/voice", {"CallSid": call_id, "From": caller, "To": to})
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "application/xml"
        return call_id, fromstring(await answer.text())  # noqa: S314

    async def token(self, call_id: str | None = None) -> tuple[str, str]:
        """Place a call; its id and its media token."""
        call_id, document = await self.ring(call_id)
        parameter = document.find("./Connect/Stream/Parameter[@name='token']")
        assert parameter is not None
        return call_id, parameter.attrib["value"]

    async def open(self, call_id: str, token: str) -> aiohttp.ClientWebSocketResponse:
        """Open the media socket and say `start`."""
        media = await self.http.ws_connect(f"{self.url}/twilio/media/{call_id}")
        await media.send_json({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        await media.send_str(start(call_id, token))
        return media

    async def live(self) -> tuple[str, aiohttp.ClientWebSocketResponse]:
        """A call with an open line."""
        call_id, token = await self.token()
        heard = await Heard.on(self.bus, call_id)
        media = await self.open(call_id, token)
        await heard.wait_for(CallStarted)
        return call_id, media


def start(call_id: str, token: str, named: str | None = None) -> str:
    """Twilio's `start` message."""
    body = {
        "streamSid": "MZ1",
        "accountSid": "AC1",
        "callSid": call_id,
        "tracks": ["inbound"],
        "customParameters": {"call_id": named or call_id, "agent": "bella", "token": token},
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }
    return json.dumps({"event": "start", "sequenceNumber": "1", "start": body, "streamSid": "MZ1"})


def media_frame(timestamp_ms: int, payload: bytes) -> str:
    """Twilio's `media` message."""
    body = {
        "track": "inbound",
        "chunk": "1",
        "timestamp": str(timestamp_ms),
        "payload": base64.b64encode(payload).decode(),
    }
    return json.dumps({"event": "media", "sequenceNumber": "2", "media": body, "streamSid": "MZ1"})


def _settings(changes: dict[str, Any]) -> Settings:
    return Settings(
        agents_file=ROOT / "agents.yaml",
        twilio_auth_token=SecretStr(AUTH_TOKEN),
        lease_timeout_s=2,
        **{"api_key": SecretStr(API_KEY), **changes},
    )


@asynccontextmanager
async def workers_on(bus: NatsBus, capacity: int = 25) -> AsyncIterator[tuple[dict[str, FakeStage], dict[str, Any]]]:
    """One worker of each stage on the real broker."""
    stages = {name: FakeStage(name) for name in ("stt", "llm", "tts", "speech")}
    workers = {name: StageWorker(bus, stage, f"{name}-{uuid4().hex[:6]}", capacity) for name, stage in stages.items()}
    for worker in workers.values():
        await worker.start()
    yield stages, workers
    for worker in workers.values():
        await worker.drain(0)


@asynccontextmanager
async def gateway_on(
    bus: NatsBus, stages: dict[str, FakeStage], workers: dict[str, StageWorker], port: int = 0, **changes: Any
) -> AsyncIterator[Peer]:
    """A gateway in this process on `port`, with `changes` to its settings."""
    settings = _settings(changes)
    gateway = await build(bus, settings, f"gateway-{uuid4().hex[:6]}")
    server = HttpServer(gateway.app, gateway.web_sockets, listen("127.0.0.1", port), settings.trusted_proxies)
    serving = server.start()
    async with aiohttp.ClientSession() as http:
        yield Peer(bus, http, f"http://127.0.0.1:{server.port}", stages, workers, gateway)
    await leave(gateway.switchboard, 0)
    server.stop()
    await asyncio.wait_for(serving, 10)
    gateway.pulse.stop()
    await gateway.breakers.close()


@asynccontextmanager
async def serve(bus: NatsBus, capacity: int = 25, **changes: Any) -> AsyncIterator[Peer]:
    """A gateway on a free port, with its workers."""
    async with workers_on(bus, capacity) as (stages, workers), gateway_on(bus, stages, workers, **changes) as peer:
        yield peer
