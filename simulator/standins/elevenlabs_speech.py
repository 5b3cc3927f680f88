"""What the ElevenLabs stand-in says: espeak-ng's speech, or telegrams, in the vendor's chunks with character times."""

import asyncio
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from shared import espeak
from shared.audio import bytes_of, duration_ms
from simulator import telegraph
from simulator.standins.behaviour import TtsVoice

VOICES = {"EXAVITQu4vr4xnSDxMaL": "en-us", "JBFqnCBsd6RMkjVDRZzb": "en-gb-x-rp"}
"""The voices that exist, and how espeak-ng calls something like them."""
_WORDS_PER_MINUTE = 165
_CHUNK_MS = 200


def speak(text: str, voice_id: str, speed: float = 1.0) -> espeak.Speech:
    """`text` in one of the VOICES; `speed` is relative to normal speech."""
    return espeak.speak(text, VOICES[voice_id], round(_WORDS_PER_MINUTE * speed))


async def speak_as(voice: TtsVoice, text: str, voice_id: str, speed: float = 1.0) -> espeak.Speech:
    """The same, in telegrams if `voice` wants them."""
    if voice == "telegraph":
        return telegraph.speak(text, round(_WORDS_PER_MINUTE * speed))
    return await asyncio.to_thread(speak, text, voice_id, speed)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some 200 ms of audio; characters as (character, start in ms, duration in ms), relative to the chunk."""

    mulaw: bytes
    chars: list[tuple[str, int, int]]

    def alignment(self, prefix: str = "") -> dict[str, Any]:
        """The vendor's shape of it, with `prefix` before the first character."""
        timed = [*((char, 0, 0) for char in prefix), *self.chars]
        return {
            "chars": [char for char, _, _ in timed],
            "charStartTimesMs": [start for _, start, _ in timed],
            "charDurationsMs": [duration for _, _, duration in timed],
        }


def _times(speech: espeak.Speech, text: str) -> list[int]:
    """When each character begins in ms, evenly within each word; one more for the end."""
    anchors = [(0, 0)]
    for word in speech.words:
        if anchors[-1][0] < word.position < len(text) and anchors[-1][1] <= word.start_ms:
            anchors.append((word.position, word.start_ms))
    anchors.append((len(text), duration_ms(speech.mulaw)))
    times = [0]
    for (index, start), (next_index, end) in pairwise(anchors):
        steps = next_index - index
        times += [start + (end - start) * step // steps for step in range(1, steps + 1)]
    return times


def chunks(speech: espeak.Speech, text: str) -> Iterator[Chunk]:
    """`speech` of `text` in the order in which the vendor sends it."""
    times, size = _times(speech, text), bytes_of(_CHUNK_MS)
    for offset in range(0, len(speech.mulaw), size):
        start, end = duration_ms(speech.mulaw[:offset]), duration_ms(speech.mulaw[: offset + size])
        last = offset + size >= len(speech.mulaw)
        inside = range(bisect_left(times, start), len(text) if last else bisect_left(times, end, hi=len(text)))
        chars = [(text[index], times[index] - start, times[index + 1] - times[index]) for index in inside]
        yield Chunk(speech.mulaw[offset : offset + size], chars)
