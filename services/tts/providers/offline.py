"""The offline voice: espeak-ng, without a key and without a network."""

import asyncio

from services.tts.cutting import Cut, cut, split
from services.tts.provider import Failure, Listener, Piece
from shared import espeak
from shared.agents import TtsProfile
from shared.audio import SILENCE, bytes_of
from shared.stage import CannotServe

_VOICE = "en-us"
_WORDS_PER_MINUTE = 165
_PAUSE_MS = {",": 120, ";": 180, ":": 180, ".": 320, "!": 320, "?": 320}
"""How long a speaker rests after a clause that ends so."""


class OfflineVoice:
    """One call's espeak-ng voice."""

    model = "espeak-ng"

    def __init__(self, voice: str, speed: float, listener: Listener) -> None:
        """`speed` is relative to normal speech."""
        self._voice = voice
        self._speed = speed
        self._listener = listener
        self._generation = -1
        self._oldest = -1
        self._unsaid = ""
        """Text without a sound, waiting for a piece to travel with."""
        self._ending = ""

    def _take_up(self, generation: int) -> bool:
        """Whether `generation` may be spoken; a new one begins without what the older left."""
        if generation < self._oldest:
            return False
        if generation != self._generation:
            self._generation, self._unsaid, self._ending = generation, "", ""
        return True

    async def speak(self, generation: int, text: str) -> None:
        if not self._take_up(generation):
            return
        words_per_minute = round(_WORDS_PER_MINUTE * self._speed)
        speech = await asyncio.to_thread(espeak.speak, text, self._voice, words_per_minute)
        if not self._take_up(generation):
            return
        cuts = cut(speech, text)
        if not cuts:
            self._unsaid += text
            return
        pieces = [Piece(generation, part, "") for part in self._pause()]
        cuts[0] = Cut(cuts[0].mulaw, self._unsaid + cuts[0].text)
        self._unsaid, self._ending = "", text.rstrip()[-1]
        for piece in [*pieces, *(Piece(generation, part.mulaw, part.text) for part in cuts)]:
            if generation < self._oldest:
                return
            await self._listener(piece)

    def _pause(self) -> list[bytes]:
        """The rest after the clause before, within the same reply."""
        silence = SILENCE * bytes_of(_PAUSE_MS.get(self._ending, 0) / self._speed)
        return split(silence) if silence else []

    async def end(self, generation: int) -> None:
        if self._take_up(generation):
            said, self._unsaid = self._unsaid, ""
            await self._listener(Piece(generation, b"", said, last=True))

    async def cancel(self, generation: int) -> None:
        self._oldest = max(self._oldest, generation)

    async def close(self) -> None:
        self._oldest = self._generation + 1


async def open_voice(profile: TtsProfile, listener: Listener, failure: Failure) -> OfflineVoice:
    """The voice that `profile` names. Raises CannotServe for one that espeak-ng does not have."""
    voice = profile.voice or _VOICE
    try:
        await asyncio.to_thread(espeak.speak, "a", voice)
    except espeak.SpeechError as error:
        raise CannotServe(f"{error}: set tts.voice of the agent to one of its voices, such as {_VOICE!r}") from error
    return OfflineVoice(voice, profile.speed, listener)
