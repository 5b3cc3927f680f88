"""A vendor of speech recognition that fails, through the real SDK: what the caller says is understood once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from services.stt.provider import Hypothesis
from services.stt.providers.deepgram_line import Patience
from services.stt.providers.offline import open_transcriber
from services.stt.resilient import Choice, ResilientTranscriber
from shared.agents import AgentProfile, SttProfile
from shared.audio import duration_ms
from shared.failover import Pace
from shared.provider_errors import NobodyServes
from shared.stage import CannotServe
from shared.turn_taking import TurnProfile
from simulator.standins.behaviour import Fault
from simulator.standins.deepgram_connection import Habits
from tests.fakes import profile as bella
from tests.fleet import Fleet
from tests.integration.deepgram_vendor import BOOKING, THANKS, Ear, Vendor, audio, feed, silence

FAULTS: tuple[Fault, ...] = ("hang", "429", "500", "drop", "garbage")
MODELS = ("nova-3", "flux-general-en")
IMPATIENT = Patience(finish_s=0.25, turn_s=0.5, silence_s=0.25)
CONNECT_S = 0.3


class Line:
    """A call whose recogniser has several choices, each at a vendor of its own."""

    def __init__(self, model: str, vendors: list[Vendor], give_up_s: float = 8.0) -> None:
        self.vendors, self.ear, self.fleet = vendors, Ear(), Fleet()
        profile = AgentProfile(name="test", stt=SttProfile(model=model), turns=TurnProfile(patience_ms=500))
        choices = [
            Choice(name, profile, vendor.account(patience=IMPATIENT, connect_s=CONNECT_S).open_transcriber)
            for name, vendor in zip(("first", "second"), vendors, strict=False)
        ]
        self.transcriber = ResilientTranscriber("CA1", choices, self.fleet, self.ear.fail, 2.0, Pace(give_up_s))
        self.transcriber.listener = self.ear.hear

    @property
    def fault(self) -> Fault:
        return self.vendors[0].behaviour.stt_fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        self.vendors[0].behaviour.stt_fault = fault

    async def say(self, text: str, in_the_middle: Callable[[], None]) -> None:
        speech = audio(text)
        half = duration_ms(speech) // 40 * 160
        await feed(self.transcriber, silence(400))
        await self.transcriber.begin()
        await feed(self.transcriber, speech[:half])
        await self.ear.until(lambda: any(not heard.final for heard in self.ear.heard))
        in_the_middle()
        await feed(self.transcriber, speech[half:] + silence(260))
        await self.transcriber.finish()

    async def until(self, reached: Callable[[], bool]) -> None:
        """The line stays open meanwhile."""
        async with asyncio.timeout(10):
            while not reached():
                await feed(self.transcriber, silence(20))
                await asyncio.sleep(0.002)

    async def completed(self, times: int) -> list[Hypothesis]:
        await self.until(lambda: len(self.ear.complete) >= times)
        return self.ear.complete


@pytest_asyncio.fixture
async def vendors() -> AsyncIterator[list[Vendor]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Vendor()) for _ in range(2)]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_in_mid_utterance_costs_no_word_and_doubles_none(
    vendors: list[Vendor], fault: Fault, model: str
) -> None:
    line = Line(model, vendors)
    await line.transcriber.open()
    await line.say(BOOKING, lambda: setattr(line, "fault", fault))
    await line.completed(1)
    assert line.ear.final_text == BOOKING
    assert line.transcriber.provider == "second"
    words = line.ear.complete[0].words
    assert abs(words[0].start_ms - 400) <= 40
    assert abs(words[-1].end_ms - 400 - duration_ms(audio(BOOKING))) <= 40
    assert {name for name, _ in line.fleet.failures} == {"stt.first"}

    # The call goes on where it is.
    await line.say(THANKS, lambda: None)
    await line.completed(2)
    assert line.ear.final_text == f"{BOOKING} {THANKS}"
    assert line.ear.failures == []
    await line.transcriber.close()


@pytest.mark.parametrize("fault", FAULTS)
async def test_without_a_fallback_the_same_vendor_is_asked_again_until_it_serves(
    vendors: list[Vendor], fault: Fault
) -> None:
    line = Line("nova-3", vendors[:1])
    await line.transcriber.open()
    await line.say(BOOKING, lambda: setattr(line, "fault", fault))
    await line.until(lambda: len(line.fleet.failures) >= 2)
    line.fault = ""
    await line.completed(1)
    assert line.ear.final_text == BOOKING
    assert len(line.ear.complete) == 1
    assert line.ear.failures == []
    await line.transcriber.close()


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_before_the_last_words_are_final_costs_none_of_them(vendors: list[Vendor], fault: Fault) -> None:
    vendors[0].behaviour.stt_final_ms = 100
    line = Line("nova-3", vendors)
    await line.transcriber.open()
    await line.say(BOOKING, lambda: None)
    line.fault = fault
    await line.completed(1)
    await line.transcriber.finish()
    await line.completed(2)
    assert [heard.text for heard in line.ear.complete] == [BOOKING, ""]
    await line.transcriber.close()


@pytest.mark.parametrize("sound", [b"", audio("seven green bottles are hanging on the wall")])
async def test_what_nobody_answers_is_no_words_in_the_end(sound: bytes) -> None:
    async with Vendor(Habits(answers_finalize=False)) as vendor:
        line = Line("nova-3", [vendor])
        await line.transcriber.open()
        await feed(line.transcriber, silence(600) + sound + silence(260))
        await line.transcriber.finish()
        await line.completed(1)
        assert [heard.text for heard in line.ear.heard if heard.final] == [""]
        assert not any(heard.given_up for heard in line.ear.heard)
        assert line.fleet.failures == []
        assert line.ear.failures == []
        await line.transcriber.close()


async def test_the_offline_recogniser_hears_what_the_vendor_did_not_finish(vendors: list[Vendor]) -> None:
    said = "what are your opening hours"
    line = Line("nova-3", vendors[:1])
    (first,) = line.transcriber._choices
    offline = Choice("offline", bella(), open_transcriber)
    line.transcriber = ResilientTranscriber("CA1", [first, offline], line.fleet, line.ear.fail, 2.0)
    line.transcriber.listener = line.ear.hear
    await line.transcriber.open()
    speech = audio(said)
    await feed(line.transcriber, silence(3000))
    await line.transcriber.begin()
    await feed(line.transcriber, speech[:4000])
    line.fault = "500"
    await feed(line.transcriber, speech[4000:] + silence(260))
    await line.transcriber.finish()
    await line.completed(1)
    assert line.ear.final_text == said
    assert line.transcriber.provider == "offline"
    await line.transcriber.close()


async def test_words_that_are_final_are_not_said_again_by_another_provider(vendors: list[Vendor]) -> None:
    line = Line("nova-3", vendors)
    await line.transcriber.open()
    await line.say(BOOKING, lambda: None)
    await line.completed(1)
    vendors[0].cut_the_line()
    await line.say(THANKS, lambda: None)
    assert [heard.text for heard in await line.completed(2)] == [BOOKING, THANKS]
    await line.transcriber.close()


@pytest.mark.parametrize("fault", ["hang", "429", "500", "drop"])
async def test_a_fault_at_the_lease_brings_the_fallback(vendors: list[Vendor], fault: Fault) -> None:
    line = Line("nova-3", vendors)
    line.fault = fault
    await line.transcriber.open()
    assert line.transcriber.provider == "second"
    await line.say(BOOKING, lambda: None)
    await line.completed(1)
    assert line.ear.final_text == BOOKING
    assert [name for name, _ in line.fleet.failures] == ["stt.first"]
    assert line.fleet.successes == ["stt.second"]
    await line.transcriber.close()


async def test_a_vendor_that_talks_nonsense_from_the_lease_on_makes_way_for_the_fallback(vendors: list[Vendor]) -> None:
    line = Line("nova-3", vendors)
    line.fault = "garbage"
    await line.transcriber.open()
    await line.transcriber.begin()
    await feed(line.transcriber, audio(BOOKING) + silence(260))
    await line.transcriber.finish()
    await line.completed(1)
    assert (line.ear.final_text, line.transcriber.provider) == (BOOKING, "second")
    assert line.fleet.failures == [("stt.first", "timeout")]
    await line.transcriber.close()


@pytest.mark.parametrize(("fault", "reason"), [("hang", "no answer"), ("429", "429"), ("500", "500")])
async def test_a_fault_at_the_lease_without_a_fallback_cannot_serve(
    vendors: list[Vendor], fault: Fault, reason: str
) -> None:
    line = Line("nova-3", vendors[:1])
    line.fault = fault
    with pytest.raises(CannotServe, match=reason):
        await line.transcriber.open()
    await line.transcriber.close()


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_vendor_that_never_comes_back_ends_the_recognition_once(vendors: list[Vendor], fault: Fault) -> None:
    line = Line("nova-3", vendors[:1], give_up_s=0.1)
    await line.transcriber.open()
    await line.say(BOOKING, lambda: setattr(line, "fault", fault))
    await line.until(lambda: bool(line.ear.failures))
    await feed(line.transcriber, silence(100))
    (failure,) = line.ear.failures
    assert isinstance(failure, NobodyServes)
    assert line.ear.complete == []
    await line.transcriber.close()
