"""Messages of Twilio Media Streams.

Source: Twilio, "Media Streams - WebSocket Messages".
"""

import base64

import msgspec

MAX_PAYLOAD = 8000
"""One second of μ-law; Twilio sends 20 ms."""


class BadMessage(ValueError):
    """The text is not a message of Twilio's protocol."""


class MediaBody(msgspec.Struct, gc=False):
    """`media.media`."""

    payload: bytes
    timestamp: str = "0"
    track: str = "inbound"


class MarkBody(msgspec.Struct):
    """`mark.mark`."""

    name: str


class DtmfBody(msgspec.Struct):
    """`dtmf.dtmf`."""

    digit: str


class StartBody(msgspec.Struct, rename="camel"):
    """`start.start`."""

    stream_sid: str
    call_sid: str
    account_sid: str = ""
    custom_parameters: dict[str, str] = {}


class Inbound(msgspec.Struct, gc=False):
    """Any message from Twilio; the body named by `event` is set."""

    event: str
    media: MediaBody | None = None
    mark: MarkBody | None = None
    dtmf: DtmfBody | None = None
    start: StartBody | None = None


_decoder = msgspec.json.Decoder(Inbound)
_encode_name = msgspec.json.Encoder().encode
_WITH_BODY = {"media", "mark", "dtmf", "start"}


def decode(text: str | bytes | memoryview) -> Inbound:
    """The message in `text`. Raises BadMessage; an unknown event is no error."""
    try:
        message = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage(str(error)) from error
    event, body = message.event, message.media
    if (body is None or event != "media") and event in _WITH_BODY and getattr(message, event) is None:
        raise BadMessage(f"{event} without its body")
    if body is not None:
        if len(body.payload) > MAX_PAYLOAD:
            raise BadMessage(f"a payload of {len(body.payload)} bytes; {MAX_PAYLOAD} are allowed")
        if not body.timestamp.isdecimal():
            raise BadMessage("media.timestamp is not a number")
    return message


def media(stream_sid: str, mulaw: bytes) -> str:
    """`media`: append 8 kHz μ-law to what Twilio plays."""
    payload = base64.b64encode(mulaw).decode()
    return f'{{"event":"media","streamSid":{_quote(stream_sid)},"media":{{"payload":"{payload}"}}}}'


def mark(stream_sid: str, name: str) -> str:
    """`mark`: comes back when all audio before it was played."""
    return f'{{"event":"mark","streamSid":{_quote(stream_sid)},"mark":{{"name":{_quote(name)}}}}}'


def clear(stream_sid: str) -> str:
    """`clear`: drop the audio that was not played yet."""
    return f'{{"event":"clear","streamSid":{_quote(stream_sid)}}}'


def _quote(text: str) -> str:
    return _encode_name(text).decode()
