"""`python -m services.gateway.twilio` and Twilio: the real SDK over real HTTP, against a stand-in of the API."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from services.gateway.twilio.__main__ import parser, run
from services.gateway.twilio.account import Account, AccountError
from services.gateway.twilio.deployment import Unfit
from shared.settings import Settings
from tests.fakes import ROOT
from tests.integration.gateway_peer import AUTH_TOKEN
from tests.integration.gateway_process import free_port
from tests.integration.https_front import Front, answering
from tests.integration.twilio_account import SID, TwilioAccount, api_at, phone_number, twilio_account

NUMBER = "+15551234567"
HERE = "https://calls.example.com"
VOICE = f"{HERE}/twilio/voice"


@pytest_asyncio.fixture
async def front() -> AsyncIterator[Front]:
    """A deployment as it should be."""
    async with answering({"status": 403}, {"status": 204}) as answers:
        yield answers


async def command(twilio: TwilioAccount, *argv: str, front: Front | None = None) -> None:
    """Run it with the settings of the deployment behind `front`."""
    url, trusting = (front.url, front.trusting) if front is not None else (HERE, None)
    settings = Settings(twilio_account_sid=SID, twilio_auth_token=SecretStr(AUTH_TOKEN), public_url=url)
    with api_at(twilio.url) as api:
        await asyncio.to_thread(run, parser().parse_args(argv), settings, api, trusting)


async def test_the_numbers_of_all_pages_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    async with twilio_account(
        phone_number("+15550000001", voice_url=VOICE),
        phone_number("+15550000002", voice_url="https://demo.twilio.com/welcome/voice/", voice_method="GET"),
        phone_number("+15550000003", voice_application_sid="AP1", voice_url=VOICE),
        phone_number("+15550000004", trunk_sid="TK1"),
        phone_number("+15550000005", capabilities={"voice": False, "sms": True}),
    ) as twilio:
        twilio.max_page = 2
        await command(twilio)
    assert capsys.readouterr().out.splitlines() == [
        f"+15550000001     POST {VOICE}",
        "+15550000002     GET https://demo.twilio.com/welcome/voice/",
        "+15550000003     application AP1",
        "+15550000004     trunk TK1",
        "+15550000005     messages only",
    ]


async def test_an_account_without_numbers_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    async with twilio_account() as twilio:
        await command(twilio)
    assert "no numbers" in capsys.readouterr().out


async def test_a_number_is_pointed_at_the_deployment_once(front: Front, capsys: pytest.CaptureFixture[str]) -> None:
    voice, status = f"{front.url}/twilio/voice", f"{front.url}/twilio/status"
    demo = "https://demo.twilio.com/welcome/voice/"
    neighbour = phone_number(f"{NUMBER}8", voice_url=demo)
    async with twilio_account(neighbour, phone_number(NUMBER, voice_url=demo, voice_method="GET")) as twilio:
        twilio.max_page = 1
        await command(twilio, "--number", "+1 (555) 123-4567", front=front)
        told = capsys.readouterr().out
        await command(twilio, "--number", NUMBER, front=front)
        assert twilio.numbers == [
            phone_number(f"{NUMBER}8", voice_url=demo),
            phone_number(NUMBER, voice_url=voice, voice_fallback_url=voice, status_callback=status),
        ]
        form = {"VoiceUrl": voice, "VoiceMethod": "POST", "VoiceFallbackUrl": voice, "StatusCallback": status}
        assert twilio.updates == [form]
    assert f"  voice webhook    GET {demo}  →  POST {voice}\n" in told
    assert f"  status callback  none  →  POST {status}\n" in told
    assert "  trunk            none\n" in told
    again = capsys.readouterr().out
    assert "nothing to change" in again
    assert "→" not in again


async def test_a_dry_run_changes_nothing(front: Front, capsys: pytest.CaptureFixture[str]) -> None:
    async with twilio_account(phone_number(NUMBER)) as twilio:
        await command(twilio, "--number", NUMBER, "--dry-run", "--url", f"{front.url}/", front=front)
        assert twilio.updates == []
    told = capsys.readouterr().out
    assert f"none  →  POST {front.url}/twilio/voice\n" in told
    assert told.endswith("dry run: nothing was changed\n")


@pytest.mark.parametrize(
    ("name", "posted"), [("trunk_sid", "TrunkSid"), ("voice_application_sid", "VoiceApplicationSid")]
)
async def test_what_takes_precedence_is_cleared(
    name: str, posted: str, front: Front, capsys: pytest.CaptureFixture[str]
) -> None:
    async with twilio_account(phone_number(NUMBER, **{name: "XX1"})) as twilio:
        await command(twilio, "--number", NUMBER, front=front)
        assert twilio.updates[0][posted] == ""
        assert not twilio.numbers[0][name]
    assert "XX1  →  none\n" in capsys.readouterr().out


async def test_a_trunk_that_twilio_keeps_is_no_success(front: Front) -> None:
    async with twilio_account(phone_number(NUMBER, trunk_sid="TK1")) as twilio:
        twilio.keeps = {"trunk_sid"}
        with pytest.raises(AccountError, match="has trunk_sid as TK1"):
            await command(twilio, "--number", NUMBER, front=front)


async def test_a_number_of_another_account_is_refused() -> None:
    async with twilio_account(phone_number(f"{NUMBER}8")) as twilio:
        with pytest.raises(AccountError, match="not a number of this account"):
            await command(twilio, "--number", NUMBER)


async def test_a_number_for_messages_is_refused() -> None:
    async with twilio_account(phone_number(NUMBER, capabilities={"voice": False, "sms": True})) as twilio:
        with pytest.raises(Unfit, match="messages only"):
            await command(twilio, "--number", NUMBER, "--force")
        assert twilio.updates == []


async def test_nothing_is_changed_while_the_deployment_is_down(
    front: Front, capsys: pytest.CaptureFixture[str]
) -> None:
    down = Front(f"https://localhost:{free_port()}", front.trusting)
    async with twilio_account(phone_number(NUMBER)) as twilio:
        with pytest.raises(Unfit, match=rf"^{down.url}: no connection \(.*\) \(--force"):
            await command(twilio, "--number", NUMBER, front=down)
        assert twilio.updates == []
        await command(twilio, "--number", NUMBER, "--force", front=down)
        assert twilio.numbers[0]["voice_url"] == f"{down.url}/twilio/voice"
    told = capsys.readouterr()
    assert told.err.startswith(f"trunkline: {down.url}: no connection")
    assert "answers" not in told.out


@pytest.mark.parametrize(("sid", "token"), [(SID, "wrong-token"), ("AC" + "f" * 32, AUTH_TOKEN)])
async def test_wrong_credentials_are_named_and_not_shown(sid: str, token: str) -> None:
    async with twilio_account(phone_number(NUMBER)) as twilio:
        with api_at(twilio.url) as api, pytest.raises(AccountError, match=r"TWILIO_AUTH_TOKEN.*20003") as refused:
            await asyncio.to_thread(Account(sid, token, api).numbers)
    assert token not in str(refused.value)
    assert sid not in str(refused.value)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ({"status": 429, "text": '{"code": 20429, "message": "Too Many Requests", "status": 429}'}, "20429.*try again"),
        ({"status": 503, "text": "<html>"}, r"fails \(503\)"),
        (
            {"status": 403, "text": f'{{"code": 20005, "message": "Account {SID} not\\nactive"}}'},
            r"refuses \(20005\): Account … not active; https://www\.twilio\.com/docs/errors/20005",
        ),
        ({"status": 404, "text": "[]"}, r"refuses \(404\): no reason given$"),
        ({"status": 200, "text": "<html>"}, "does a proxy answer"),
    ],
)
async def test_what_twilio_refuses_is_told_in_one_line(answer: dict[str, Any], complaint: str) -> None:
    async with twilio_account() as twilio:
        twilio.instead = answer
        with pytest.raises(AccountError, match=complaint) as refused:
            await command(twilio)
    assert "\n" not in str(refused.value)


async def test_an_update_that_is_refused_tells_twilios_reason() -> None:
    async with twilio_account(phone_number(NUMBER)) as twilio:
        with api_at(twilio.url) as api:
            account = Account(SID, AUTH_TOKEN, api)
            found = await asyncio.to_thread(account.number, NUMBER)
            with pytest.raises(AccountError, match=r"21405.*Cannot set VoiceFallbackUrl"):
                await asyncio.to_thread(account.update, found, {"voice_fallback_url": VOICE})
            twilio.numbers.clear()
            with pytest.raises(AccountError, match=r"20404.*Accounts/…/") as gone:
                await asyncio.to_thread(account.update, found, {"voice_url": VOICE})
    assert SID not in str(gone.value)


async def test_a_twilio_that_cannot_be_reached_is_told() -> None:
    async with twilio_account() as twilio:
        twilio.silent = True
        with api_at(twilio.url, timeout_s=0.2) as api, pytest.raises(AccountError, match="ReadTimeout"):
            await asyncio.to_thread(Account(SID, AUTH_TOKEN, api).numbers)
    with (
        api_at(f"http://127.0.0.1:{free_port()}") as api,
        pytest.raises(AccountError, match=r"cannot be reached \(ConnectionError\)"),
    ):
        await asyncio.to_thread(Account(SID, AUTH_TOKEN, api).numbers)


def process(folder: Path, *argv: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The command as people start it; it asks nobody."""
    return subprocess.run(
        [sys.executable, "-m", "services.gateway.twilio", *argv],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_settings_are_those_of_env_files_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"TWILIO_ACCOUNT_SID={SID}\nTWILIO_AUTH_TOKEN=hidden\nPUBLIC_URL=http://here\n")
    ended = process(tmp_path, "--number", NUMBER)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("trunkline: PUBLIC_URL http://here: https://")
    assert ended.stderr.count("\n") == 1


def test_without_credentials_it_says_where_they_are(tmp_path: Path) -> None:
    ended = process(tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("trunkline: TWILIO_ACCOUNT_SID: not set")


def test_a_connection_that_fails_ends_with_status_1(tmp_path: Path) -> None:
    proxy = f"http://127.0.0.1:{free_port()}"
    ended = process(tmp_path, TWILIO_ACCOUNT_SID=SID, TWILIO_AUTH_TOKEN="hidden", HTTPS_PROXY=proxy)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "trunkline: Twilio's API cannot be reached (ProxyError): run this again, no harm is done\n"


def test_help_is_given(tmp_path: Path) -> None:
    ended = process(tmp_path, "--help")
    assert ended.returncode == 0
    assert "--dry-run" in ended.stdout
