"""The offline voice: its pauses, its speed, and how it stops."""

from services.tts.provider import Piece
from services.tts.providers.offline import OfflineVoice
from shared.audio import SILENCE, duration_ms


async def pieces_of(*clauses: str) -> list[Piece]:
    heard: list[Piece] = []

    async def listen(piece: Piece) -> None:
        heard.append(piece)

    voice = OfflineVoice("en-us", 1.0, listen)
    for clause in clauses:
        await voice.speak(1, clause)
    await voice.end(1)
    return heard


def pause_ms(pieces: list[Piece]) -> int:
    return sum(duration_ms(piece.mulaw) for piece in pieces if not piece.mulaw.strip(SILENCE))


async def test_a_speaker_rests_longer_after_a_sentence_than_after_a_comma() -> None:
    assert pause_ms(await pieces_of("For four people ", "on Friday.")) == 0
    assert 0 < pause_ms(await pieces_of("For four, ", "on Friday.")) < pause_ms(await pieces_of("Four. ", "On Friday."))


async def test_nothing_is_waited_for_before_the_first_word_or_after_the_last() -> None:
    assert pause_ms(await pieces_of("Good day! ")) == 0


async def test_a_cancel_stops_the_voice_within_a_clause() -> None:
    heard: list[Piece] = []

    async def listen(piece: Piece) -> None:
        heard.append(piece)
        await voice.cancel(2)

    voice = OfflineVoice("en-us", 1.0, listen)
    await voice.speak(1, "You find us at number twelve Harbour Street. ")
    assert len(heard) == 1


async def test_the_speed_of_the_profile_is_the_speed_of_the_voice() -> None:
    async def duration(speed: float) -> int:
        heard = 0

        async def listen(piece: Piece) -> None:
            nonlocal heard
            heard += len(piece.mulaw)

        voice = OfflineVoice("en-us", speed, listen)
        await voice.speak(1, "You find us at number twelve Harbour Street. ")
        return heard

    assert await duration(0.7) > 1.2 * await duration(1.0) > 1.4 * await duration(1.4)
