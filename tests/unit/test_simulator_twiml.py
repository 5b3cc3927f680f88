"""TwiML as the simulated carrier reads it."""

import pytest

from simulator.twiml import BadTwiml, Dial, Hangup, Pause, Play, Redirect, Reject, Say, Stream, Verb, parse


def test_a_stream_and_what_follows_it_are_read_in_order() -> None:
    document = """<?xml version="1.0" encoding="UTF-8"?>
    <Response>
      <Connect><Stream url="wss://host/twilio/media/CA1">
        <Parameter name="call_id" value="CA1"/><Parameter name="token" value="a&amp;b"/>
      </Stream></Connect>
      <Redirect method="post">https://host/twilio/voice</Redirect>
    </Response>"""
    assert parse(document) == [
        Stream("wss://host/twilio/media/CA1", {"call_id": "CA1", "token": "a&b"}),
        Redirect("https://host/twilio/voice", "POST"),
    ]


@pytest.mark.parametrize(
    ("element", "verb"),
    [
        ("<Say voice='x'>We are\n   <emphasis>very</emphasis> sorry.</Say>", Say("We are very sorry.")),
        ("<Hangup/>", Hangup()),
        ("<Redirect>/twilio/voice</Redirect>", Redirect("/twilio/voice")),
        ("<Redirect/>", Redirect("")),
        ("<Pause/>", Pause(1.0)),
        ('<Pause length="3"/>', Pause(3.0)),
        ("<Play>https://host/music.mp3</Play>", Play("https://host/music.mp3")),
        ("<Dial> +4930123456 </Dial>", Dial("+4930123456")),
        ("<Reject/>", Reject("rejected")),
        ('<Reject reason="busy"/>', Reject("busy")),
        ('<Connect><Stream url="ws://h/m"/></Connect>', Stream("ws://h/m", {})),
    ],
)
def test_each_verb_is_read(element: str, verb: Verb) -> None:
    assert parse(f"<Response>{element}</Response>") == [verb]


def test_an_empty_response_has_no_verbs() -> None:
    assert parse("<Response/>") == []


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("", "not XML"),
        ("<Response><Say></Response>", "not XML"),
        ("<html/>", "<Response> expected, found <html>"),
        ("<Response><Gather/></Response>", "does not do <Gather>"),
        ("<Response><Connect/></Response>", "one <Stream>, found nothing"),
        ("<Response><Connect><Room/></Connect></Response>", "one <Stream>, found ['Room']"),
        ("<Response><Connect><Stream/></Connect></Response>", "ws:// or wss:// expected"),
        ("<Response><Connect><Stream url='https://h'/></Connect></Response>", "ws:// or wss:// expected"),
        ("<Response><Connect><Stream url='wss://h?a=b'/></Connect></Response>", "no query string"),
        ("<Response><Connect><Stream url='wss://h'><Parameter name='a'/></Stream></Connect></Response>", "<Parameter>"),
        ("<Response><Dial>me</Dial></Response>", "E.164"),
        ("<Response><Dial><Number>+4930123456</Number></Dial></Response>", "E.164"),
        ("<Response><Pause length='soon'/></Response>", "whole seconds"),
    ],
)
def test_what_twilio_would_refuse_is_a_clear_error(document: str, complaint: str) -> None:
    with pytest.raises(BadTwiml) as refused:
        parse(document)
    assert complaint in str(refused.value)
