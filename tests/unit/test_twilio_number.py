"""Pointing a number at a deployment: what is changed, and what the command line takes."""

import pytest
from pydantic import SecretStr

from services.gateway.twilio.__main__ import WrongUse, base_url, credentials, e164, main
from services.gateway.twilio.number import FIELDS, Number, destination, rows
from shared.settings import Settings

HERE = "https://calls.example.com"
VOICE, STATUS = f"{HERE}/twilio/voice", f"{HERE}/twilio/status"
SID = "AC" + "0" * 32


def number(**fields: str) -> Number:
    bought = {name: "POST" if name.endswith("method") else "" for name in FIELDS}
    return Number("PN1", "+15551234567", True, {**bought, **fields})


def pointed(found: Number) -> Number:
    return Number(found.sid, found.number, found.takes_calls, {**found.fields, **found.changes(HERE)})


def test_a_new_number_gets_all_three_webhooks() -> None:
    assert number().changes(HERE) == {"voice_url": VOICE, "voice_fallback_url": VOICE, "status_callback": STATUS}


def test_a_number_that_leads_here_is_left_alone() -> None:
    assert pointed(number()).changes(HERE) == {}


def test_a_method_alone_can_be_wrong() -> None:
    found = pointed(number(voice_method="GET", status_callback_method="GET", voice_fallback_method="GET"))
    assert found.changes(HERE) == {}
    wrong = Number("PN1", found.number, True, {**found.fields, "voice_method": "GET"})
    assert wrong.changes(HERE) == {"voice_method": "POST"}


def test_what_takes_precedence_is_cleared() -> None:
    assert pointed(number()).changes(HERE) == {}
    for name in ("trunk_sid", "voice_application_sid"):
        found = Number("PN1", "+15551234567", True, {**pointed(number()).fields, name: "XX1"})
        assert found.changes(HERE) == {name: ""}


def test_a_fallback_that_repeated_the_webhook_follows_it() -> None:
    old = "https://old.example.com/twilio/voice"
    assert number(voice_url=old, voice_fallback_url=old).changes(HERE)["voice_fallback_url"] == VOICE


def test_a_fallback_that_leads_elsewhere_stays() -> None:
    changes = number(voice_url="https://old.example.com", voice_fallback_url="https://sorry.example.com").changes(HERE)
    assert "voice_fallback_url" not in changes
    assert changes["voice_url"] == VOICE


def test_the_destination_is_what_takes_precedence() -> None:
    assert destination(number().fields) == "none"
    assert destination(number(voice_url=VOICE, voice_method="GET").fields) == f"GET {VOICE}"
    assert destination(number(voice_url=VOICE, voice_application_sid="AP1").fields) == "application AP1"
    assert destination(number(voice_url=VOICE, trunk_sid="TK1").fields) == "trunk TK1"
    assert rows(number(trunk_sid="TK1").fields) == {
        "trunk": "TK1",
        "application": "none",
        "voice webhook": "none",
        "voice fallback": "none",
        "status callback": "none",
    }


@pytest.mark.parametrize("text", ["+15551234567", "+1 (555) 123-4567", " +1.555.123.4567 "])
def test_a_number_may_be_written_as_people_do(text: str) -> None:
    assert e164(text) == "+15551234567"


@pytest.mark.parametrize("text", ["5551234567", "+0155512345", "+1555CALLNOW", "", "+", "+1555123456789012"])
def test_a_number_without_its_country_is_wrong_use(text: str) -> None:
    with pytest.raises(WrongUse, match="--number"):
        e164(text)


def test_the_address_is_that_of_the_option_or_the_setting() -> None:
    assert base_url("https://a.example.com/", HERE) == "https://a.example.com"
    assert base_url(None, HERE) == HERE
    assert base_url("https://a.example.com:8443", "") == "https://a.example.com:8443"


@pytest.mark.parametrize(
    ("option", "setting", "complaint"),
    [
        (None, "", "PUBLIC_URL: not set"),
        (None, "http://calls.example.com", "PUBLIC_URL http.*https"),
        ("", HERE, "--url: not set"),
        ("calls.example.com", HERE, "--url.*https"),
        ("http://calls.example.com", HERE, "--url.*https"),
        (VOICE, HERE, "nothing behind the host"),
        (f"{HERE}?a=b", HERE, "nothing behind the host"),
        (f"{HERE}#a", HERE, "nothing behind the host"),
        ("https://user:password@calls.example.com", HERE, "nothing behind the host"),
        ("https://", HERE, "https://host expected"),
        ("https://host:port", HERE, "--url"),
        ("https://[::1", HERE, "--url"),
    ],
)
def test_an_address_that_twilio_cannot_use_is_wrong_use(option: str | None, setting: str, complaint: str) -> None:
    with pytest.raises(WrongUse, match=complaint) as wrong:
        base_url(option, setting)
    assert "password" not in str(wrong.value)


@pytest.mark.parametrize(
    ("sid", "token", "complaint"),
    [("", "t", "TWILIO_ACCOUNT_SID: not set"), (SID, "", "TWILIO_AUTH_TOKEN: not set"), ("SK1", "t", "API key")],
)
def test_credentials_that_cannot_work_are_wrong_use(sid: str, token: str, complaint: str) -> None:
    settings = Settings(twilio_account_sid=sid, twilio_auth_token=SecretStr(token))
    with pytest.raises(WrongUse, match=complaint):
        credentials(settings)


@pytest.mark.parametrize("option", [["--url", HERE], ["--dry-run"], ["--force"]])
def test_the_other_options_need_a_number(
    option: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TWILIO_ACCOUNT_SID", SID)
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "secret")
    with pytest.raises(SystemExit) as ended:
        main(option)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("trunkline: --number: needed")
    assert told.count("\n") == 1
