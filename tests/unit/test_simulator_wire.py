"""Twilio's media stream messages, on the carrier's side."""

import base64
import json

import pytest

from services.gateway.twilio import frames
from shared.audio import FRAME_BYTES
from simulator.wire import SILENT_FRAME, BadMessage, Clear, Mark, Media, Wire, read

STREAM = "MZ" + "1" * 32


def wire() -> Wire:
    return Wire("AC" + "0" * 32, "CA" + "2" * 32, STREAM)


def test_a_stream_begins_as_twilio_documents_it() -> None:
    sender = wire()
    assert json.loads(sender.connected()) == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert json.loads(sender.start({"token": "t"})) == {
        "event": "start",
        "sequenceNumber": "1",
        "start": {
            "accountSid": "AC" + "0" * 32,
            "streamSid": STREAM,
            "callSid": "CA" + "2" * 32,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"token": "t"},
        },
        "streamSid": STREAM,
    }


def test_messages_are_numbered_and_frames_carry_their_time() -> None:
    sender = wire()
    sender.start({})
    speech = b"\x01" * FRAME_BYTES
    sent = [json.loads(text) for text in (sender.media(speech), sender.mark("m"), sender.media(SILENT_FRAME))]
    assert [message["sequenceNumber"] for message in sent] == ["2", "3", "4"]
    assert {message["streamSid"] for message in sent} == {STREAM}
    first, mark, second = sent
    payload = base64.b64encode(speech).decode()
    assert first["media"] == {"track": "inbound", "chunk": "1", "timestamp": "0", "payload": payload}
    assert mark["mark"] == {"name": "m"}
    assert (second["media"]["chunk"], second["media"]["timestamp"]) == ("2", "20")
    assert base64.b64decode(second["media"]["payload"]) == b"\xff" * FRAME_BYTES


def test_keys_and_the_end_are_told() -> None:
    sender = wire()
    assert json.loads(sender.dtmf("5"))["dtmf"] == {"track": "inbound_track", "digit": "5"}
    assert json.loads(sender.stop())["stop"] == {"accountSid": "AC" + "0" * 32, "callSid": "CA" + "2" * 32}


def test_the_gateway_and_the_simulator_speak_the_same_protocol() -> None:
    sender = wire()
    start, media = frames.decode(sender.start({"token": "t"})), frames.decode(sender.media(b"\x07" * FRAME_BYTES))
    assert start.start is not None and media.media is not None
    assert (start.start.stream_sid, start.start.custom_parameters) == (STREAM, {"token": "t"})
    assert media.media.payload == b"\x07" * FRAME_BYTES
    assert read(frames.media(STREAM, b"abc"), STREAM) == Media(b"abc")
    assert read(frames.mark(STREAM, 'a "b"'), STREAM) == Mark('a "b"')
    assert read(frames.clear(STREAM), STREAM) == Clear()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "truncated"),
        ('{"event":"clear"}', "streamSid"),
        ('{"event":"clear","streamSid":"MZ9"}', "not that of this stream"),
        (f'{{"event":"media","streamSid":"{STREAM}"}}', "'media'"),
        (f'{{"event":"media","streamSid":"{STREAM}","media":{{"payload":"!"}}}}', "media:"),
        (f'{{"event":"mark","streamSid":"{STREAM}","mark":{{}}}}', "name"),
        (f'{{"event":"say","streamSid":"{STREAM}"}}', "'say'"),
    ],
)
def test_what_twilio_refuses_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(BadMessage, match=complaint):
        read(text, STREAM)
    with pytest.raises(BadMessage, match=complaint):
        read(text.encode(), STREAM)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(BadMessage, match="utf-8"):
        read(b'{"event":"\xff","streamSid":"MZ"}', STREAM)
