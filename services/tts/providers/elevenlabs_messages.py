"""What ElevenLabs says over a multi-context socket, as far as it is used here.

Source: ElevenLabs' API reference ("Multi-Context WebSocket"); the field names are those of the SDK's models.
"""

import msgspec
from msgspec import UNSET


class Times(msgspec.Struct, rename="camel"):
    """When each character of a stretch of audio is said."""

    chars: list[str]
    char_start_times_ms: list[int]
    char_durations_ms: list[int]


class Answer(msgspec.Struct, rename="camel"):
    """One message: audio with its times, the end of a context, or an error. Each comes without the fields of others."""

    audio: bytes | None = None
    alignment: Times | None = None
    normalized_alignment: Times | None = None
    is_final: bool | None = None
    context_id: str | None = None
    error: object = UNSET
    message: object = None

    @property
    def times(self) -> Times | None:
        """Those of the text as it was given, if they are known."""
        return self.alignment or self.normalized_alignment

    @property
    def generation(self) -> int:
        """The reply whose context it is; -1: none."""
        context = self.context_id
        return int(context) if context is not None and context.isdecimal() else -1


_DECODER: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


def read(message: str | bytes) -> Answer:
    """What a message says. Raises msgspec.DecodeError for one that nobody understands."""
    return _DECODER.decode(message)
