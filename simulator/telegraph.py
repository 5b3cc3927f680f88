"""A voice for measuring: as long as speech, and every word carries its own text, to be read back exactly. Pure.

A word is a mark (a start, the number of bytes, the UTF-8 text, its CRC-32; two samples for a byte), a tone to its end
and a short pause. All samples of a mark are loud, so that it begins where the word begins to be heard.
"""

import re
import zlib
from dataclasses import dataclass

import numpy as np

from shared.audio import RATE, SILENCE, bytes_of, duration_ms
from shared.espeak import Speech, SpokenWord
from shared.pcm import encode

_START = b"\x00\x80\x00\x00\x80\x80\x00\x80"
"""Full scale and back: neither digits nor the tone nor speech sound like it."""
_DIGITS = b"0123456789abcdef"
_SAMPLES = bytes(range(0xA0, 0xB0))
"""One for each half of a byte, at an eighth to a quarter of full scale."""
_WRITE, _READ = bytes.maketrans(_DIGITS, _SAMPLES), bytes.maketrans(_SAMPLES + _DIGITS, _DIGITS + b"?" * 16)
_LENGTH, _CRC = 2, 4
"""Bytes."""
_TONE = encode(np.round(6000 * np.sin(2 * np.pi * 400 * np.arange(RATE) / RATE)).astype(np.int16))

_WORDS_PER_MINUTE = 165
_WORD_MS, _CHARACTER_MS, _PAUSE_MS = 60, 40, 20
"""A word lasts about as long as espeak-ng's at 165 words a minute."""
_PAUSES_MS = {**dict.fromkeys(",;:", 200), **dict.fromkeys(".!?…", 300)}
"""After a word that ends so."""
_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Telegram:
    """A word that was read."""

    at: int
    """The sample at which it begins."""
    text: str


def _mark(word: str) -> bytes:
    data = word.encode()
    body = len(data).to_bytes(_LENGTH) + data + zlib.crc32(data).to_bytes(_CRC)
    return _START + body.hex().encode().translate(_WRITE)


def _tone(samples: int) -> bytes:
    return (_TONE * (samples // len(_TONE) + 1))[:samples]


def speak(text: str, words_per_minute: int = _WORDS_PER_MINUTE) -> Speech:
    """Speak `text`; a word is what stands between blanks. Raises ValueError for a word of 64 KiB or more."""
    pace = _WORDS_PER_MINUTE / words_per_minute
    pieces: list[bytes] = []
    words: list[SpokenWord] = []
    at_ms = 0
    for found in _WORD.finditer(text):
        word = found.group()
        if len(word.encode()) >= 256**_LENGTH:
            raise ValueError(f"a word of {len(word)} characters is too long")
        mark = _mark(word)
        sound_ms = max(round(pace * (_WORD_MS + _CHARACTER_MS * len(word))), duration_ms(mark) + 1)
        pause_ms = round(pace * _PAUSES_MS.get(word[-1], _PAUSE_MS))
        words.append(SpokenWord(found.start(), at_ms))
        pieces += [mark, _tone(bytes_of(sound_ms) - len(mark)), SILENCE * bytes_of(pause_ms)]
        at_ms += sound_ms + pause_ms
    return Speech(b"".join(pieces), tuple(words))


def read(mulaw: bytes) -> list[Telegram]:
    """The words in a track of 8 kHz μ-law whose marks are whole, in their order."""
    found: list[Telegram] = []
    at = mulaw.find(_START)
    while at >= 0:
        if (word := _read_mark(mulaw, at + len(_START))) is not None:
            found.append(Telegram(at, word))
        at = mulaw.find(_START, at + 1)
    return found


def _read_mark(mulaw: bytes, at: int) -> str | None:
    """The text behind a start that ends at `at`; None: it is damaged."""
    try:
        length = _bytes(mulaw, at, _LENGTH)
        data = _bytes(mulaw, at + 2 * _LENGTH, int.from_bytes(length))
        crc = _bytes(mulaw, at + 2 * (_LENGTH + len(data)), _CRC)
        return data.decode() if zlib.crc32(data) == int.from_bytes(crc) else None
    except ValueError:
        return None


def _bytes(mulaw: bytes, at: int, count: int) -> bytes:
    """Raises ValueError when there are no `count` bytes."""
    written = bytes.fromhex(mulaw[at : at + 2 * count].translate(_READ).decode("ascii", "replace"))
    if len(written) != count:
        raise ValueError("cut off")
    return written
