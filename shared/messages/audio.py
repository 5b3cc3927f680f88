"""Audio frames: msgpack arrays, because they are the only messages that come fifty times a second."""

from typing import NamedTuple

import msgpack


class BadFrame(ValueError):
    """The bytes are not an audio frame."""


class AudioIn(NamedTuple):
    """What the caller said: `call.<id>.audio.in`."""

    epoch: int
    """The number of the line (the gateway's lease on the call)."""
    seq: int
    """Counts from 0, one for each frame the carrier sent."""
    timestamp_ms: int
    """Where the frame's first sample lies on the caller's timeline, in ms since the stream began."""
    payload: bytes
    """8 kHz μ-law, one byte a sample, 20 ms as Twilio sends it."""


class AudioOut(NamedTuple):
    """What the agent says: `call.<id>.audio.out`, pieces of 250 ms at most in order of `offset_ms`."""

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


def pack(frame: AudioIn | AudioOut) -> bytes:
    """The frame as a msgpack array."""
    packed: bytes = msgpack.packb(frame)
    return packed


def _unpack(data: bytes, length: int) -> list[object]:
    try:
        fields = msgpack.unpackb(data)
    except (ValueError, msgpack.UnpackException) as error:
        raise BadFrame(str(error)) from error
    if not isinstance(fields, list) or len(fields) != length:
        raise BadFrame(f"an array of {length} fields was expected")
    return fields


def unpack_in(data: bytes) -> AudioIn:
    """The inverse of `pack` for AudioIn. Raises BadFrame."""
    return AudioIn(*_unpack(data, 4))  # type: ignore[arg-type]


def unpack_out(data: bytes) -> AudioOut:
    """The inverse of `pack` for AudioOut. Raises BadFrame."""
    return AudioOut(*_unpack(data, 9))  # type: ignore[arg-type]
