"""Audio frames: msgpack arrays, because no other messages come so often."""

from collections.abc import Iterable
from typing import Any, NamedTuple

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


class WordEnd(NamedTuple):
    """What ends at one place of a payload."""

    end: int
    """The place, in bytes from the payload's beginning."""
    text: str
    """The words, with the white space that follows them; empty within a word that goes on."""


class Spoken(str):
    """The words of a payload that holds several, and where in it each of them is over."""

    __slots__ = ("words",)

    words: tuple[WordEnd, ...]
    """In order; the last one ends with the payload."""

    def __new__(cls, words: Iterable[WordEnd]) -> "Spoken":
        """Their concatenation, which is what it is as a string."""
        words = tuple(words)
        spoken = super().__new__(cls, "".join([text for _, text in words]))
        spoken.words = words
        return spoken

    def __reduce__(self) -> tuple[type["Spoken"], tuple[tuple[WordEnd, ...]]]:
        """How it is copied and pickled: made again of its words."""
        return type(self), (self.words,)


class AudioOut(NamedTuple):
    """What the agent says: `call.<id>.audio.out`, messages of 800 ms at most in order of `offset_ms`."""

    epoch: int
    """The number of the sender's lease."""
    generation: int
    """The reply it belongs to; what is of an older one is dropped."""
    turn_id: int
    """The caller's turn that the reply answers."""
    offset_ms: int
    """Where the audio begins within its reply."""
    asked_at: float
    """Unix time in seconds at which the reply's first text reached the sender; 0: not known."""
    at: float
    """Unix time in seconds at which it was published."""
    payload: bytes
    """8 kHz μ-law; empty only when `last`."""
    text: str
    """The words it says, with the white space that follows them; the reply is their concatenation.

    They are over where the payload ends; if it is Spoken, each where it says. That travels as an array of [end, text].
    """
    last: bool
    """No audio of this reply comes after this."""

    @property
    def words(self) -> tuple[WordEnd, ...]:
        """The words and where they end, in order; the last one ends with the payload."""
        return self.text.words if isinstance(self.text, Spoken) else (WordEnd(len(self.payload), self.text),)


def _parts(spoken: Any) -> tuple[WordEnd, ...]:
    if isinstance(spoken, Spoken):
        return spoken.words
    raise NotImplementedError(f"{type(spoken).__name__} is no part of an audio frame")


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_parts)
_AUDIO_IN = msgspec.msgpack.Decoder(AudioIn)
_AUDIO_OUT = msgspec.msgpack.Decoder(tuple[int, int, int, int, float, float, bytes, str | tuple[WordEnd, ...], bool])


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
        epoch, generation, turn_id, offset_ms, asked_at, at, payload, text, last = _AUDIO_OUT.decode(data)
    except msgspec.DecodeError as error:
        raise BadFrame(str(error)) from error
    said = text if isinstance(text, str) else _spoken(text, len(payload))
    return AudioOut(epoch, generation, turn_id, offset_ms, asked_at, at, payload, said, last)


def _spoken(words: tuple[WordEnd, ...], length: int) -> Spoken:
    before = 0
    for end, _ in words:
        if end < before:
            raise BadFrame(f"a word that ends at byte {end}, after one that ends at {before}")
        before = end
    if before != length or not words:
        raise BadFrame(f"words that end at byte {before} of {length}")
    return Spoken(words)
