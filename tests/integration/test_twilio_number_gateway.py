"""Whether a deployment is fit for a number: real gateways behind https, and servers that are none."""

import asyncio
import json
import socket
from pathlib import Path
from uuid import uuid4
from xml.etree.ElementTree import fromstring

import pytest
from pydantic import SecretStr

from services.gateway.twilio.__main__ import parser, run
from services.gateway.twilio.deployment import Deployment, Unfit
from shared.nats_bus import NatsBus
from shared.settings import Settings
from tests.integration import gateway_process
from tests.integration.gateway_peer import API_KEY, AUTH_TOKEN, serve
from tests.integration.gateway_process import free_port
from tests.integration.https_front import Front, Reply, answering, https_front
from tests.integration.twilio_account import SID, api_at, phone_number, twilio_account

NUMBER = "+15551234567"
HERE = "the front's address"
Environment = dict[str, str]
SETTINGS = {"TWILIO_ACCOUNT_SID": SID, "TWILIO_AUTH_TOKEN": AUTH_TOKEN, "PUBLIC_URL": HERE}


async def check(front: Front, timeout_s: float = 5, url: str = "") -> None:
    await asyncio.to_thread(Deployment(url or front.url, SID, AUTH_TOKEN, front.trusting, timeout_s).check)


async def live_calls(url: str) -> set[str]:
    key = {"Authorization": f"Bearer {API_KEY}"}
    async with gateway_process.carrier() as operator, operator.get(f"{url}/calls", headers=key) as answer:
        return {call["call_id"] for call in await answer.json()}


async def test_a_number_is_pointed_at_a_gateway_that_runs(
    nats_url: str, bus: NatsBus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port, heard = free_port(), list[str]()

    async def hear(subject: str, payload: bytes) -> None:
        heard.append(subject)

    await bus.subscribe("call.>", hear)
    await bus.flush()
    async with https_front(port) as front, twilio_account(phone_number(NUMBER)) as twilio:
        here = {**SETTINGS, "PUBLIC_URL": front.url}
        settings = Settings(
            twilio_account_sid=SID,
            twilio_auth_token=SecretStr(AUTH_TOKEN),
            public_url=front.url,
        )
        args = parser().parse_args(["--number", NUMBER])
        async with gateway_process.running(nats_url, port, tmp_path / "log", **here) as gateway:
            before = await live_calls(gateway.url)
            with api_at(twilio.url) as api:
                await asyncio.to_thread(run, args, settings, api, front.trusting)
            calls = await live_calls(gateway.url) - before
            assert await gateway.stop() == 0
        assert twilio.numbers[0]["voice_url"] == f"{front.url}/twilio/voice"
    await bus.flush()
    events = [json.loads(line) for line in gateway.written().splitlines()]
    # The broker may keep calls of the tests before this one.
    calls |= {subject.split(".")[1] for subject in heard} | {event["call_id"] for event in events if "call_id" in event}
    assert calls <= before, "the check is no call"
    refused = [event["path"] for event in events if event["event"] == "signature_refused"]
    assert refused == ["/twilio/voice"]
    assert f"{front.url} answers, and trusts this account's signature\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"TWILIO_AUTH_TOKEN": "another"}, "the deployment needs the TWILIO_AUTH_TOKEN"),
        ({"TWILIO_ACCOUNT_SID": "AC" + "f" * 32}, "the deployment needs the TWILIO_AUTH_TOKEN"),
        ({"PUBLIC_URL": "https://another.example.com"}, "PUBLIC_URL=https://localhost"),
        ({"PUBLIC_URL": ""}, "PUBLIC_URL=https://localhost"),
        ({"TWILIO_AUTH_TOKEN": "", "ALLOW_UNSIGNED": "true"}, "takes requests without a signature"),
    ],
)
async def test_a_gateway_with_other_settings_is_told_apart(
    nats_url: str, tmp_path: Path, wrong: Environment, complaint: str
) -> None:
    port = free_port()
    async with https_front(port) as front:
        here = {**SETTINGS, "PUBLIC_URL": front.url, **wrong}
        async with gateway_process.running(nats_url, port, tmp_path / "log", **here):
            with pytest.raises(Unfit, match=complaint) as unfit:
                await check(front)
    assert AUTH_TOKEN not in str(unfit.value)


async def test_a_fallback_request_is_answered_as_the_first_one(bus: NatsBus) -> None:
    async with serve(bus) as peer:
        await peer.ready()
        form = {"CallSid": f"CA{uuid4().hex}", "From": "+49123", "To": "+15550100"}
        failed = {"ErrorCode": "11200", "ErrorUrl": f"{peer.url}/twilio/voice"}
        answer = await peer.post("/twilio/voice", {**form, **failed})
        assert answer.status == 200
        assert [element.tag for element in fromstring(await answer.text())] == ["Connect", "Redirect"]  # noqa: S314


@pytest.mark.parametrize(
    ("voice", "status", "complaint"),
    [
        ({"text": "<html>"}, {}, r"/voice answers 200 where a gateway answers 403"),
        ({"status": 404}, {}, r"/voice is not a gateway's \(404\)"),
        ({"status": 502}, {}, r"/voice has no gateway behind it \(502\)"),
        ({"status": 429}, {}, r"/voice has refused too many requests \(429\)"),
        (
            {"status": 308, "headers": {"Location": "https://www.example.com/"}},
            {},
            r"/voice redirects to https://www\.example\.com/",
        ),
        ({"status": 403}, {"status": 403, "text": "WAF"}, r"/status is refused before it reaches"),
        ({"status": 403}, {"status": 404}, r"/status is not a gateway's \(404\)"),
        ({"status": 403}, {}, r"/status answers 200 where a gateway answers 204"),
    ],
)
async def test_a_server_that_is_no_gateway_is_told_apart(voice: Reply, status: Reply, complaint: str) -> None:
    async with answering(voice, status) as front:
        with pytest.raises(Unfit, match=complaint):
            await check(front)


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    async with answering({}, {}, silent=True) as front:
        with pytest.raises(Unfit, match="no answer in time"):
            await check(front, 0.2)


async def test_a_host_that_cannot_be_asked_is_told() -> None:
    async with https_front(free_port()) as front:
        with pytest.raises(Unfit, match="certificate is not valid"):
            await asyncio.to_thread(Deployment(front.url, SID, AUTH_TOKEN).check)
        with pytest.raises(Unfit, match=r"no connection \("):
            await check(front, url=f"https://localhost:{free_port()}")
        with pytest.raises(Unfit, match=r"certificate is not valid .*127\.0\.0\.1"):
            await check(front, url=front.url.replace("localhost", "127.0.0.1"))


async def test_a_host_that_nobody_knows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, *_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, f"{host} not known")

    # Whether a resolver answers, and when, is this machine's affair.
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(Unfit, match=r"https://nobody\.invalid: no such host"):
        await asyncio.to_thread(Deployment("https://nobody.invalid", SID, AUTH_TOKEN).check)


async def test_a_server_without_tls_is_told() -> None:
    async with twilio_account() as plain, https_front(free_port()) as front:
        with pytest.raises(Unfit, match="no https there"):
            await check(front, url=plain.url.replace("http", "https"))
