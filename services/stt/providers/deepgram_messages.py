"""What Deepgram says over a listen socket, as far as it is used here.

The SDK takes 90 µs to make its models of one interim transcript, four times a second in each call; this takes 2 µs.
Source: Deepgram's API reference ("Live Audio", "Turn-based Audio (Flux)"); the field names are those of the SDK's
models.
"""

import msgspec
import structlog

log = structlog.get_logger()


class NovaWord(msgspec.Struct):
    """Times in seconds of the audio that was sent."""

    word: str
    start: float
    end: float
    confidence: float
    punctuated_word: str | None = None


class Alternative(msgspec.Struct):
    """One reading of the audio; the first is the best."""

    transcript: str
    confidence: float = 1.0
    words: list[NovaWord] = []


class Channel(msgspec.Struct):
    """There is one."""

    alternatives: list[Alternative]


class Results(msgspec.Struct, tag_field="type"):
    """Listen v1: the transcript of `duration` seconds from `start` on."""

    channel: Channel
    start: float
    duration: float
    is_final: bool | None = None
    speech_final: bool | None = None
    from_finalize: bool | None = None


class UtteranceEnd(msgspec.Struct, tag_field="type"):
    """Listen v1: no word came for long enough."""

    last_word_end: float


class FluxWord(msgspec.Struct):
    """Times in seconds of the audio that was sent; older versions do not tell them."""

    word: str
    confidence: float
    start: float | None = None
    end: float | None = None


class TurnInfo(msgspec.Struct, tag_field="type"):
    """Listen v2: the state of the caller's turn."""

    event: str
    audio_window_end: float
    transcript: str
    words: list[FluxWord]


class Error(msgspec.Struct, tag_field="type"):
    """The end of a listen v2 socket; listen v1 goes on."""

    description: str = ""
    code: str | None = None
    variant: str | None = None


class Caution(msgspec.Struct, tag_field="type", tag="Warning"):
    """Listen v2: something is not as it should be."""

    description: str = ""
    code: str | None = None


class Metadata(msgspec.Struct, tag_field="type"):
    """Listen v1: the end of the stream; nothing of it is used."""


class Connected(msgspec.Struct, tag_field="type"):
    """Listen v2: the beginning of the stream; nothing of it is used."""


DeepgramMessage = Results | UtteranceEnd | TurnInfo | Error | Caution | Metadata | Connected

_DECODER: msgspec.json.Decoder[DeepgramMessage] = msgspec.json.Decoder(DeepgramMessage)


def read(message: str | bytes) -> DeepgramMessage | None:
    """What a message says; None for one that is not understood, which is logged."""
    try:
        return _DECODER.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("deepgram_message_skipped", reason=str(error))
        return None
