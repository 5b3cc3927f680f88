"""Twilio's messages, byte for byte, and its signature."""

import base64
import json

import pytest
from twilio.request_validator import RequestValidator

from services.gateway.twilio import frames, twiml
from services.gateway.twilio.signature import SignatureCheck


def test_media_from_twilio() -> None:
    text = json.dumps(
        {
            "event": "media",
            "sequenceNumber": "4",
            "media": {
                "track": "inbound",
                "chunk": "2",
                "timestamp": "20",
                "payload": base64.b64encode(b"\xff\x7f").decode(),
            },
            "streamSid": "MZ1",
        }
    )
    message = frames.decode(text)
    assert message.media
    assert (message.media.payload, message.media.timestamp, message.media.track) == (b"\xff\x7f", "20", "inbound")


def test_start_from_twilio() -> None:
    text = json.dumps(
        {
            "event": "start",
            "start": {"streamSid": "MZ1", "accountSid": "AC1", "callSid": "CA1", "customParameters": {"token": "t"}},
        }
    )
    start = frames.decode(text).start
    assert start
    assert (start.stream_sid, start.call_sid, start.custom_parameters) == ("MZ1", "CA1", {"token": "t"})


def test_an_unknown_event_is_no_error() -> None:
    assert frames.decode('{"event": "tomorrow", "x": 1}').event == "tomorrow"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"event": 7}',
        '{"event": "media"}',
        '{"event": "media", "media": {"payload": "***"}}',
        '{"event": "media", "media": {"payload": "", "timestamp": "-1"}}',
        json.dumps({"event": "media", "media": {"payload": base64.b64encode(b"x" * 8001).decode()}}),
        '{"event": "mark"}',
        b"\xff\xfe",
    ],
)
def test_garbage_is_a_bad_message(text: str | bytes) -> None:
    with pytest.raises(frames.BadMessage):
        frames.decode(text)


def test_messages_to_twilio() -> None:
    assert json.loads(frames.media("MZ1", b"\x01\x02")) == {
        "event": "media",
        "streamSid": "MZ1",
        "media": {"payload": "AQI="},
    }
    assert json.loads(frames.mark('M"Z', 'a"b')) == {"event": "mark", "streamSid": 'M"Z', "mark": {"name": 'a"b'}}
    assert json.loads(frames.clear("MZ1")) == {"event": "clear", "streamSid": "MZ1"}


def test_twiml_streams_and_then_asks_again() -> None:
    document = twiml.connect("wss://h/twilio/media/CA1", {"token": 'a"&<'}, "https://h/twilio/voice?x=1&y=2")
    assert document == (
        b'<?xml version="1.0" encoding="UTF-8"?><Response><Connect><Stream url="wss://h/twilio/media/CA1">'
        b'<Parameter name="token" value="a&quot;&amp;&lt;" /></Stream></Connect>'
        b'<Redirect method="POST">https://h/twilio/voice?x=1&amp;y=2</Redirect></Response>'
    )


def test_twiml_turns_away() -> None:
    assert b"<Say>Sorry &amp; bye</Say><Hangup />" in twiml.say_and_hang_up("Sorry & bye")
    assert twiml.hang_up().endswith(b"<Response><Hangup /></Response>")


URL = "https://calls.example.com/twilio/voice"


@pytest.mark.parametrize(
    ("account", "changed", "passes"),
    [
        ("", {}, True),
        ("AC1", {}, True),
        ("AC2", {}, False),
        ("", {"To": "+2"}, False),
        ("", {"Extra": "1"}, False),
    ],
)
def test_a_webhook_must_be_twilios_and_for_this_account(account: str, changed: dict[str, str], passes: bool) -> None:
    form = {"CallSid": "CA1", "AccountSid": "AC1", "To": "+1"}
    signature = RequestValidator("token").compute_signature(URL, form)
    assert SignatureCheck("token", account).passes(URL, {**form, **changed}, signature) is passes


def test_without_a_token_no_signature_is_asked_for() -> None:
    assert SignatureCheck("").passes(URL, {}, "")
