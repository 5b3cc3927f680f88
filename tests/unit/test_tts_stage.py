"""Which voice a call gets, and the sentence that says why it gets none."""

import asyncio

import pytest
from pydantic import SecretStr

from services.tts.stage import TtsStage
from shared.agents import AgentProfile, TtsChoice, TtsProfile
from shared.call import Call
from shared.channel import CallChannel
from shared.memory_bus import MemoryBus
from shared.messages import AudioOut, ReplyEnd, ReplyText
from shared.settings import Settings
from shared.stage import CannotServe
from tests.fleet import Fleet

OFFLINE = Settings(tts_provider="offline", elevenlabs_api_key=SecretStr(""))


def call_of(tts: TtsProfile, bus: MemoryBus) -> Call:
    return Call(AgentProfile(name="test", tts=tts), CallChannel(bus, "CA1", "tts", 1))


async def test_a_profile_without_a_provider_gets_the_one_of_the_settings() -> None:
    bus = MemoryBus()
    call = call_of(TtsProfile(), bus)
    session = await TtsStage(OFFLINE).open(call)
    pieces: asyncio.Queue[AudioOut] = asyncio.Queue()
    gateway = CallChannel(bus, "CA1", "gateway", 1)
    await gateway.on_audio_out("tts", pieces.put_nowait)
    dialogue = CallChannel(bus, "CA1", "llm", 1)
    await dialogue.send(ReplyText(generation=1, turn_id=1, sequence=0, text="Good day."))
    await dialogue.send(ReplyEnd(generation=1, turn_id=1, pieces=1))
    heard = [await asyncio.wait_for(pieces.get(), 5)]
    while not heard[-1].last:
        heard.append(await asyncio.wait_for(pieces.get(), 5))
    assert "".join(piece.text for piece in heard) == "Good day."
    await session.close()
    await call.close()
    await bus.close()


async def test_a_vendor_without_a_key_is_refused_with_the_variable_to_set() -> None:
    with pytest.raises(CannotServe, match="ELEVENLABS_API_KEY"):
        await TtsStage(OFFLINE).open(call_of(TtsProfile(provider="elevenlabs"), MemoryBus()))


async def test_a_fallback_speaks_when_the_first_choice_cannot_serve() -> None:
    bus = MemoryBus()
    tts = TtsProfile(provider="elevenlabs", fallbacks=(TtsChoice(voice="nobody"), TtsChoice()))
    call = call_of(tts, bus)
    session = await TtsStage(OFFLINE).open(call)
    await session.close()
    await call.close()
    await bus.close()


async def test_the_reasons_of_all_choices_are_told_when_none_can_serve() -> None:
    tts = TtsProfile(provider="elevenlabs", fallbacks=(TtsChoice(voice="nobody"),))
    with pytest.raises(CannotServe, match=r"ELEVENLABS_API_KEY.*; .*nobody"):
        await TtsStage(OFFLINE).open(call_of(tts, MemoryBus()))


async def test_a_voice_whose_breaker_is_open_is_not_asked() -> None:
    with pytest.raises(CannotServe, match="offline has failed lately"):
        await TtsStage(OFFLINE, Fleet("tts.offline")).open(call_of(TtsProfile(), MemoryBus()))


async def test_an_unknown_offline_voice_is_refused_with_the_field_to_set() -> None:
    with pytest.raises(CannotServe, match=r"nobody.*tts\.voice"):
        await TtsStage(OFFLINE).open(call_of(TtsProfile(voice="nobody"), MemoryBus()))
