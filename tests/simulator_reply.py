"""A reply as tts publishes it, for tests of those who listen: real speech, two pieces for each word."""

from functools import cache

from shared.audio import SILENCE, bytes_of, duration_ms
from shared.espeak import speak, trim
from shared.messages import AudioOut, TranscriptAgent

TEXT = "We start with tomato soup or a green salad."
REST = SILENCE * bytes_of(50)


@cache
def word(text: str) -> bytes:
    """How one word sounds, with a rest behind it."""
    return trim(speak(text).mulaw) + REST


def pieces(text: str = TEXT, generation: int = 1) -> list[AudioOut]:
    """All audio of the reply `text`; the first piece of a word has no text, the second one has the word."""
    found: list[AudioOut] = []
    offset = 0
    words = text.split()
    for number, said in enumerate(words, 1):
        audio = word(said)
        half = len(audio) // 2
        space = "" if number == len(words) else " "
        for payload, shown in ((audio[:half], ""), (audio[half:], said + space)):
            last = number == len(words) and bool(shown)
            found.append(AudioOut(1, generation, 1, duration_ms(bytes(offset)), 0.0, 0.0, payload, shown, last))
            offset += len(payload)
    return found


def audio(text: str = TEXT) -> bytes:
    """The whole reply."""
    return b"".join(piece.payload for piece in pieces(text))


def transcript(text: str = TEXT, *, interrupted: bool = False, generation: int = 1) -> TranscriptAgent:
    """What the platform says of it."""
    return TranscriptAgent(turn_id=1, generation=generation, text=text, interrupted=interrupted)
