"""Audio frames: msgpack arrays, because no other messages come so often."""

from typing import NamedTuple

import msgspec


class BadFrame(ValueError):
    """The bytes are not an audio frame."""


class AudioIn(NamedTuple):
    """What the caller said: `call.<id>.audio.in`."""

    epoch: int
    """The number of the line (the gateway's lease on the call)."""
    seq: int
    """Counts from 0, one for each message."""
    timestamp_ms: int
    """Where the frame's first sample lies on the caller's timeline, in ms since the stream began."""
    payload: bytes
    """8 kHz μ-law, one byte a sample: one or more of the carrier's frames of 20 ms."""


class AudioOut(NamedTuple):
    """What the agent says: `call.<id>.audio.out`, pieces of 500 ms at most in order of `offset_ms`."""

    epoch: int
    """The number of the sender's lease."""
    generation: int
    """The reply the piece belongs to; pieces of an older one are dropped."""
    turn_id: int
    """The caller's turn that the reply answers."""
    offset_ms: int
    """Where the piece begins within its reply."""
    asked_at: float
    """Unix time in seconds at which the reply's first text reached the sender; 0: not known."""
    at: float
    """Unix time in seconds at which the piece was published."""
    payload: bytes
    """8 kHz μ-law; empty only when `last`."""
    text: str
    """The words this piece says, with the white space that follows them; the reply is their concatenation."""
    last: bool
    """No piece of this reply comes after this one."""


_ENCODER = msgspec.msgpack.Encoder()
_AUDIO_IN = msgspec.msgpack.Decoder(AudioIn)
_AUDIO_OUT = msgspec.msgpack.Decoder(AudioOut)


def pack(frame: AudioIn | AudioOut) -> bytes:
    """The frame as a msgpack array."""
    return _ENCODER.encode(frame)


def unpack_in(data: bytes) -> AudioIn:
    """The inverse of `pack` for AudioIn. Raises BadFrame."""
    try:
        return _AUDIO_IN.decode(data)
    except msgspec.DecodeError as error:
        raise BadFrame(str(error)) from error


def unpack_out(data: bytes) -> AudioOut:
    """The inverse of `pack` for AudioOut. Raises BadFrame."""
    try:
        return _AUDIO_OUT.decode(data)
    except msgspec.DecodeError as error:
        raise BadFrame(str(error)) from error
