"""Which recogniser a call gets, and the sentences that say why it gets none."""

import pytest
from pydantic import SecretStr

from services.stt.stage import SttStage
from shared.agents import AgentProfile, SttChoice, SttProfile
from shared.call import Call
from shared.channel import CallChannel
from shared.memory_bus import MemoryBus
from shared.settings import Settings
from shared.stage import CannotServe
from tests.fleet import Fleet

OFFLINE = Settings(stt_provider="offline", deepgram_api_key=SecretStr(""))


def call_of(stt: SttProfile, bus: MemoryBus, scenario: str = "bella") -> Call:
    return Call(AgentProfile(name="test", stt=stt, scenario=scenario), CallChannel(bus, "CA1", "stt", 1))


async def test_a_vendor_without_a_key_is_refused_with_the_variable_to_set() -> None:
    with pytest.raises(CannotServe, match="DEEPGRAM_API_KEY"):
        await SttStage(OFFLINE).open(call_of(SttProfile(provider="deepgram"), MemoryBus()))


async def test_a_fallback_listens_when_the_first_choice_cannot_serve() -> None:
    bus = MemoryBus()
    call = call_of(SttProfile(provider="deepgram", fallbacks=(SttChoice(),)), bus)
    session = await SttStage(OFFLINE).open(call)
    await session.close()
    await call.close()
    await bus.close()


async def test_the_reasons_of_all_choices_are_told_when_none_can_serve() -> None:
    stt = SttProfile(provider="deepgram", fallbacks=(SttChoice(),))
    with pytest.raises(CannotServe, match=r"DEEPGRAM_API_KEY.*; scenario 'nothing'"):
        await SttStage(OFFLINE).open(call_of(stt, MemoryBus(), scenario="nothing"))


async def test_a_recogniser_whose_breaker_is_open_is_not_asked() -> None:
    with pytest.raises(CannotServe, match="offline has failed lately"):
        await SttStage(OFFLINE, Fleet("stt.offline")).open(call_of(SttProfile(), MemoryBus()))
