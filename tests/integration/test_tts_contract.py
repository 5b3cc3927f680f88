"""The contract of a voice, passed by every TTS provider: real speech, the right words, nothing stale."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import numpy as np
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from services.tts.provider import Failure, Listener, Open, Piece, Synthesizer
from services.tts.providers import offline
from services.tts.providers.elevenlabs import ElevenLabs
from services.tts.resilient import Choice, ResilientVoice
from shared import espeak
from shared.agents import TtsProfile
from shared.audio import duration_ms
from shared.breakers import Breakers
from shared.pcm import decode
from shared.settings import Settings
from shared.stage import CannotServe
from simulator.standins.behaviour import Behaviour
from simulator.standins.elevenlabs import add_routes

CLAUSES = ["A table for four, ", "with pleasure. ", "For which day ", "and at what time?"]
REPLY = "".join(CLAUSES)


class Ear:
    """What comes out of a voice."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.failures: list[Exception] = []
        self._changed = asyncio.Event()

    async def hear(self, piece: Piece) -> None:
        self.pieces.append(piece)
        self._changed.set()

    def fail(self, error: Exception) -> None:
        self.failures.append(error)
        self._changed.set()

    async def until(self, happened: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not happened():
                self._changed.clear()
                await self._changed.wait()

    def of(self, generation: int) -> list[Piece]:
        return [piece for piece in self.pieces if piece.generation == generation]

    async def reply(self, generation: int) -> list[Piece]:
        await self.until(lambda: any(piece.last for piece in self.of(generation)))
        return self.of(generation)


OpenVoice = Callable[[TtsProfile], Awaitable[Synthesizer]]


@pytest.fixture
def ear() -> Ear:
    return Ear()


def resilient(open_one: Open) -> Open:
    """Opens a voice that would outlive the provider."""

    async def open_voice(profile: TtsProfile, listener: Listener, failure: Failure) -> Synthesizer:
        voice = ResilientVoice("CA1", [Choice("only", profile, open_one)], Breakers(Settings()), failure, 4.0)
        await voice.open()
        voice.listener = listener
        return voice

    return open_voice


@pytest_asyncio.fixture(params=["offline", "elevenlabs", "resilient offline", "resilient elevenlabs"])
async def open_voice(request: pytest.FixtureRequest, ear: Ear) -> AsyncIterator[OpenVoice]:
    """Opens voices of one provider, and closes them when the test is over."""
    app = web.Application()
    add_routes(app, Behaviour())
    opened: list[Synthesizer] = []
    async with TestServer(app) as server:
        settings = Settings(elevenlabs_api_key=SecretStr("stand-in"), elevenlabs_base_url=str(server.make_url("")))
        providers: dict[str, Open] = {"offline": offline.open_voice, "elevenlabs": ElevenLabs(settings).open_voice}

        name = request.param.removeprefix("resilient ")
        open_provider = providers[name] if name == request.param else resilient(providers[name])

        async def open_one(profile: TtsProfile) -> Synthesizer:
            opened.append(await open_provider(profile, ear.hear, ear.fail))
            return opened[-1]

        yield open_one
        for voice in opened:
            await voice.close()


@pytest_asyncio.fixture
async def voice(open_voice: OpenVoice) -> Synthesizer:
    return await open_voice(TtsProfile())


async def say(voice: Synthesizer, generation: int, *clauses: str) -> None:
    for clause in clauses:
        await voice.speak(generation, clause)
    await voice.end(generation)


async def test_the_pieces_say_exactly_the_reply(voice: Synthesizer, ear: Ear) -> None:
    await say(voice, 1, *CLAUSES)
    assert "".join(piece.text for piece in await ear.reply(1)) == REPLY


async def test_the_audio_is_speech_of_a_plausible_length(voice: Synthesizer, ear: Ear) -> None:
    await say(voice, 1, *CLAUSES)
    audio = b"".join(piece.mulaw for piece in await ear.reply(1))
    expected = sum(duration_ms(espeak.trim(espeak.speak(clause).mulaw)) for clause in CLAUSES)
    assert expected * 0.9 < duration_ms(audio) < expected * 1.3 + 600
    loudness = np.abs(decode(audio).astype(np.int32))
    assert loudness.mean() > 500
    assert (loudness > 1000).mean() > 0.2


async def test_pieces_are_short_and_only_the_last_may_be_silent(voice: Synthesizer, ear: Ear) -> None:
    await say(voice, 1, *CLAUSES)
    pieces = await ear.reply(1)
    assert all(duration_ms(piece.mulaw) <= 500 for piece in pieces)
    assert all(piece.mulaw for piece in pieces[:-1])


async def test_words_come_with_their_sound_and_not_in_advance(voice: Synthesizer, ear: Ear) -> None:
    await say(voice, 1, *CLAUSES)
    pieces = await ear.reply(1)
    total = sum(len(piece.mulaw) for piece in pieces)
    heard_bytes = heard_chars = 0
    for piece in pieces:
        heard_bytes += len(piece.mulaw)
        heard_chars += len(piece.text)
        assert abs(heard_bytes / total - heard_chars / len(REPLY)) < 0.2
        assert not piece.text or piece.text[-1].isspace() or heard_chars == len(REPLY)


ADDRESS = "You find us at number twelve Harbour Street, opposite the vegetarian restaurant. "


async def test_pieces_end_where_words_end(voice: Synthesizer, ear: Ear) -> None:
    begins_ms = {word.position: word.start_ms for word in espeak.speak(ADDRESS).words}
    await say(voice, 1, ADDRESS)
    chars = end_ms = 0
    for piece in (await ear.reply(1))[:-1]:
        chars, end_ms = chars + len(piece.text), end_ms + duration_ms(piece.mulaw)
        if piece.text and chars < len(ADDRESS):
            # A vendor's word is over before the space that follows it; espeak-ng's times vary by some 10 ms.
            assert begins_ms[chars] - 100 < end_ms <= begins_ms[chars] + 20


async def test_a_word_shares_its_piece_only_if_it_is_short(voice: Synthesizer, ear: Ear) -> None:
    begins_ms = [word.start_ms for word in espeak.speak(ADDRESS).words]
    await say(voice, 1, ADDRESS)
    spoken = [len(piece.text.split()) for piece in await ear.reply(1) if piece.text.strip()]
    assert sum(spoken) == len(ADDRESS.split())
    for index, count in enumerate(spoken):
        first = sum(spoken[:index])
        # A vendor's word is over before the space that follows it, so it may be shorter than espeak's.
        assert begins_ms[first + count - 1] - begins_ms[first] < 150
    assert spoken.count(1) > len(spoken) / 2


async def test_the_first_clause_is_heard_before_the_reply_is_complete(voice: Synthesizer, ear: Ear) -> None:
    await voice.speak(1, CLAUSES[0])
    await ear.until(lambda: bool(ear.pieces))
    await say(voice, 1, *CLAUSES[1:])
    assert "".join(piece.text for piece in await ear.reply(1)) == REPLY


async def test_last_comes_exactly_once_and_last(voice: Synthesizer, ear: Ear) -> None:
    await say(voice, 1, *CLAUSES)
    await ear.reply(1)
    await say(voice, 2, "Yes.")
    await ear.reply(2)
    for generation in (1, 2):
        assert [piece.last for piece in ear.of(generation)].count(True) == 1
        assert ear.of(generation)[-1].last


@pytest.mark.parametrize("clauses", [[], [" "], ["... "]])
async def test_a_reply_without_a_sound_still_ends(voice: Synthesizer, ear: Ear, clauses: list[str]) -> None:
    await say(voice, 1, *clauses)
    pieces = await ear.reply(1)
    assert "".join(piece.text for piece in pieces) == "".join(clauses)
    assert [piece.last for piece in pieces].count(True) == 1


async def test_nothing_of_a_cancelled_reply_comes_after_the_cancel(voice: Synthesizer, ear: Ear) -> None:
    speaking = asyncio.create_task(say(voice, 1, *CLAUSES * 5))
    await ear.until(lambda: bool(ear.pieces))
    await voice.cancel(2)
    heard = len(ear.pieces)
    await speaking
    await say(voice, 1, "Never said.")
    await say(voice, 2, "The new reply.")
    await ear.reply(2)
    assert {piece.generation for piece in ear.pieces[heard:]} == {2}
    assert "".join(piece.text for piece in ear.of(2)) == "The new reply."
    assert not any(piece.last for piece in ear.of(1))
    assert ear.failures == []


async def test_a_cancel_leaves_the_newest_reply_alone(voice: Synthesizer, ear: Ear) -> None:
    await voice.speak(2, CLAUSES[0])
    await voice.cancel(2)
    await say(voice, 2, *CLAUSES[1:])
    assert "".join(piece.text for piece in await ear.reply(2)) == REPLY


async def test_ten_replies_are_spoken_on_one_call(voice: Synthesizer, ear: Ear) -> None:
    for generation in range(1, 11):
        await say(voice, generation, f"This is reply {generation}. ", "And its end.")
        await ear.reply(generation)
        await voice.cancel(generation + 1)
    texts = ["".join(piece.text for piece in ear.of(generation)) for generation in range(1, 11)]
    assert texts == [f"This is reply {generation}. And its end." for generation in range(1, 11)]
    assert ear.failures == []


async def test_ten_interrupted_replies_leave_a_voice_that_speaks(voice: Synthesizer, ear: Ear) -> None:
    for generation in range(1, 11):
        await voice.speak(generation, CLAUSES[0])
        await voice.cancel(generation + 1)
    await say(voice, 11, "Still here.")
    assert "".join(piece.text for piece in await ear.reply(11)) == "Still here."
    assert ear.failures == []


async def test_a_slower_voice_takes_longer(open_voice: OpenVoice, ear: Ear) -> None:
    for generation, speed in ((1, 0.8), (2, 1.2)):
        await say(await open_voice(TtsProfile(speed=speed)), generation, *CLAUSES)
        await ear.reply(generation)
    slow, fast = (sum(len(piece.mulaw) for piece in ear.of(generation)) for generation in (1, 2))
    assert slow > 1.2 * fast


async def test_an_unknown_voice_cannot_serve(open_voice: OpenVoice) -> None:
    with pytest.raises(CannotServe, match=r"nobody.*tts\.voice"):
        await open_voice(TtsProfile(voice="nobody"))


async def test_closing_in_the_middle_of_a_reply_is_quick_and_silent(voice: Synthesizer, ear: Ear) -> None:
    await voice.speak(1, REPLY)
    async with asyncio.timeout(1):
        await voice.close()
    assert ear.failures == []
