"""The messages of Twilio's media streams, on the carrier's side.

Source: Twilio, "Media Streams - WebSocket Messages" (protocol `Call`, version 1.0.0). All numbers travel as text.
"""

import base64
import binascii
import json
from dataclasses import dataclass

import msgspec

from shared.audio import FRAME_BYTES, FRAME_MS, RATE, SILENCE

SILENT_FRAME = SILENCE * FRAME_BYTES
_SILENT_PAYLOAD = base64.b64encode(SILENT_FRAME).decode()


class BadMessage(ValueError):
    """The gateway sent what Twilio refuses (its errors 31950-31957)."""


@dataclass(frozen=True, slots=True)
class Media:
    """Audio to play: 8 kHz μ-law."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """To be echoed when the audio before it was played."""

    name: str


@dataclass(frozen=True, slots=True)
class Clear:
    """Drop the audio that was not played yet."""


class _MediaBody(msgspec.Struct):
    payload: str


class _MarkBody(msgspec.Struct):
    name: str


class _Sent(msgspec.Struct):
    event: str
    stream: str = msgspec.field(name="streamSid")
    media: _MediaBody | None = None
    mark: _MarkBody | None = None


_decoder = msgspec.json.Decoder(_Sent)


def read(text: str | bytes, stream_sid: str) -> Media | Mark | Clear:
    """A message that the gateway sent. Raises BadMessage."""
    try:
        sent = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage(str(error)) from error
    if sent.stream != stream_sid:
        raise BadMessage(f"{sent.event}: streamSid {sent.stream!r} is not that of this stream")
    if sent.event == "media" and sent.media is not None:
        try:
            return Media(base64.b64decode(sent.media.payload, validate=True))
        except binascii.Error as error:
            raise BadMessage(f"media: {error}") from error
    if sent.event == "mark" and sent.mark is not None:
        return Mark(sent.mark.name)
    if sent.event == "clear":
        return Clear()
    raise BadMessage(f"no message that Twilio takes: {sent.event!r}")


class Wire:
    """Writes one stream's messages, numbered."""

    def __init__(self, account_sid: str, call_sid: str, stream_sid: str) -> None:
        """`stream_sid` is "MZ" and 32 hex digits."""
        self.stream_sid = stream_sid
        self._account = account_sid
        self._call = call_sid
        self._sequence = 0
        self._chunk = 0

    def _message(self, event: str, **body: object) -> str:
        self._sequence += 1
        message = {"event": event, "sequenceNumber": str(self._sequence), **body, "streamSid": self.stream_sid}
        return json.dumps(message)

    def connected(self) -> str:
        """The first message, which is not numbered."""
        return json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})

    def start(self, parameters: dict[str, str]) -> str:
        """The stream's description, with the TwiML's `<Parameter>`s."""
        body = {
            "accountSid": self._account,
            "streamSid": self.stream_sid,
            "callSid": self._call,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": RATE, "channels": 1},
            "customParameters": parameters,
        }
        return self._message("start", start=body)

    def media(self, frame: bytes) -> str:
        """The caller's next 20 ms."""
        # Written by hand: fifty a second for each call.
        payload = _SILENT_PAYLOAD if frame is SILENT_FRAME else binascii.b2a_base64(frame, newline=False).decode()
        self._sequence += 1
        self._chunk += 1
        return (
            f'{{"event":"media","sequenceNumber":"{self._sequence}","media":{{"track":"inbound",'
            f'"chunk":"{self._chunk}","timestamp":"{(self._chunk - 1) * FRAME_MS}","payload":"{payload}"}},'
            f'"streamSid":"{self.stream_sid}"}}'
        )

    def mark(self, name: str) -> str:
        """The audio before the mark `name` was played, or cleared."""
        return self._message("mark", mark={"name": name})

    def dtmf(self, digit: str) -> str:
        """The caller pressed a key."""
        return self._message("dtmf", dtmf={"track": "inbound_track", "digit": digit})

    def stop(self) -> str:
        """The stream ends."""
        return self._message("stop", stop={"accountSid": self._account, "callSid": self._call})
