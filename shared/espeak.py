"""The offline voice: espeak-ng through the library and data of the `espeakng-loader` wheel.

API: espeak-ng's `speak_lib.h`. The library has global state, so one lock guards it.
espeak-ng is GPLv3 software.
"""

import ctypes
import threading
from dataclasses import dataclass
from functools import cache

import espeakng_loader
import numpy as np

from shared.audio import bytes_of
from shared.loudness import first_audible, last_audible
from shared.pcm import encode

_SYNCHRONOUS = 2
_CHARS_UTF8 = 1
_RATE_PARAMETER = 1
_WORD_EVENT = 1
_END_EVENT = 0
_BUFFER_MS = 200
"""Length in ms of the buffers that the library hands over."""

_lock = threading.Lock()


class SpeechError(RuntimeError):
    """espeak-ng could not speak: an unknown voice, or a broken installation."""


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """Where a word of the text begins in the audio."""

    position: int
    """Index of its first character in the text."""
    start_ms: int


@dataclass(frozen=True, slots=True)
class Speech:
    """Spoken text: 8 kHz μ-law and where its words are."""

    mulaw: bytes
    words: tuple[SpokenWord, ...]


@cache
def _library() -> tuple[ctypes.CDLL, int]:
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, espeakng_loader.get_data_path().encode(), 0)
    if rate <= 0:
        raise SpeechError("espeak-ng did not start: is the espeakng-loader wheel complete?")
    return library, rate


def speak(text: str, voice: str = "en-us", words_per_minute: int = 165) -> Speech:
    """Speak `text`. Raises SpeechError for a voice that espeak-ng does not have."""
    pcm: list[bytes] = []
    words: list[SpokenWord] = []

    def collect(samples: "ctypes._Pointer[ctypes.c_short]", count: int, events: "ctypes._Pointer[_Event]") -> int:
        if count > 0:
            pcm.append(ctypes.string_at(samples, count * 2))
        index = 0
        while events[index].type != _END_EVENT:
            event = events[index]
            if event.type == _WORD_EVENT:
                words.append(SpokenWord(event.text_position - 1, event.audio_position))
            index += 1
        return 0

    with _lock:
        library, rate = _library()
        callback = _Callback(collect)
        library.espeak_SetSynthCallback(callback)
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise SpeechError(f"espeak-ng has no voice {voice!r}")
        library.espeak_SetParameter(_RATE_PARAMETER, words_per_minute, 0)
        data = text.encode()
        library.espeak_Synth(data, len(data) + 1, 0, 0, 0, _CHARS_UTF8, None, None)
        library.espeak_Synchronize()
    samples = np.frombuffer(b"".join(pcm), dtype=np.int16)
    return Speech(encode(samples, rate) if len(samples) else b"", tuple(words))


def trim(mulaw: bytes, keep_ms: int = 20) -> bytes:
    """`mulaw` without the silence before and after it, but for `keep_ms` on each side."""
    first, last = first_audible(mulaw), last_audible(mulaw)
    if first is None or last is None:
        return b""
    keep = bytes_of(keep_ms)
    return mulaw[max(0, first - keep) : last + keep]
