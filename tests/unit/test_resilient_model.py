"""A model with fallbacks: who is asked when, and what the caller hears of it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest
from prometheus_client import REGISTRY

from services.llm.provider import ChatMessage, EndCall, ProviderFailed, ReplyItem, TextDelta, Usage
from services.llm.resilient import Choice, ResilientModel
from shared.breakers import Breakers
from shared.settings import Settings
from tests.llm_model import ScriptedModel, Step

PROMPT = [ChatMessage(role="system", content="You are Bella."), ChatMessage(role="user", content="When?")]
DOWN = ProviderFailed("status 500", "status_500", again=True)
LATE = ProviderFailed("no answer in time", "timeout", again=True)
REFUSED = ProviderFailed("no such model", "status_404", at_fault=False)
BUSY = ProviderFailed("status 429", "status_429", again=True, retry_after_s=60.0)
WHOLE = ("We are ", "open ", "at nine.", Usage("model-2", 5, 3))


class Desk:
    """Two scripted models in order, and the time."""

    def __init__(self, first: Sequence[Sequence[Step]], second: Sequence[Sequence[Step]] | None = None) -> None:
        self.now = 0.0
        self.first = ScriptedModel(*first)
        self.second = ScriptedModel(*(second or ()))
        self.settings = Settings(provider_answer_s=0.05, breaker_failures=3)
        self.breakers = Breakers(self.settings, lambda: self.now)
        choices = [Choice("openai", self.first)]
        if second is not None:
            choices.append(Choice("offline", self.second))
        self.model = ResilientModel(choices, self.breakers, self.settings, lambda: self.now)

    async def items(self) -> list[ReplyItem]:
        async with aclosing(self.model.reply(PROMPT)) as stream:
            return [item async for item in stream]

    async def heard(self) -> str:
        return "".join(item.text for item in await self.items() if isinstance(item, TextDelta))

    @property
    def asked(self) -> tuple[int, int]:
        return len(self.first.asked), len(self.second.asked)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.llm.resilient._PAUSE_S", (0.0, 0.0))


@pytest.mark.parametrize(
    ("first", "second", "asked"),
    [
        ([WHOLE], [], (1, 0)),
        ([[DOWN], WHOLE], [], (2, 0)),
        ([[DOWN], WHOLE], None, (2, 0)),
        ([[DOWN], [DOWN]], [WHOLE], (2, 1)),
        ([[DOWN], [DOWN]], [[DOWN], WHOLE], (2, 2)),
        ([[LATE]], [WHOLE], (1, 1)),
        ([[LATE], WHOLE], None, (2, 0)),
        ([[REFUSED]], [WHOLE], (1, 1)),
        ([[BUSY]], [WHOLE], (1, 1)),
        ([[], WHOLE], [], (2, 0)),
        ([["We are ", DOWN]], [WHOLE], (1, 1)),
        ([["We are ", DOWN], WHOLE], None, (2, 0)),
        ([["We are ", LATE], WHOLE], None, (2, 0)),
        ([["We are open at nine.", DOWN]], [WHOLE], (1, 1)),
    ],
)
async def test_a_failure_goes_unheard(
    first: Sequence[Sequence[Step]], second: Sequence[Sequence[Step]] | None, asked: tuple[int, int]
) -> None:
    desk = Desk(first, second)
    assert await asyncio.wait_for(desk.heard(), 5) == "We are open at nine."
    assert desk.asked == asked
    assert all(messages == PROMPT for messages in desk.first.asked + desk.second.asked)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ([[DOWN], [DOWN]], None, "openai: status 500; openai: status 500"),
        ([[REFUSED]], None, "openai: no such model"),
        ([[BUSY]], None, "openai: status 429"),
        ([[], []], None, "openai: the model said nothing; openai: the model said nothing"),
        ([[LATE]], [[REFUSED]], "openai: no answer in time; offline: no such model"),
        ([["We ", DOWN], ["We ", DOWN]], None, "openai: status 500; openai: status 500"),
    ],
)
async def test_when_nobody_answers_each_reason_is_named(
    first: Sequence[Sequence[Step]], second: Sequence[Sequence[Step]] | None, reason: str
) -> None:
    desk = Desk(first, second)
    with pytest.raises(ProviderFailed) as caught:
        await desk.items()
    assert str(caught.value) == reason


@pytest.mark.parametrize("said", [(), ("We are ",)])
async def test_a_model_that_falls_silent_is_given_up(said: Sequence[str]) -> None:
    desk = Desk([[*said, asyncio.Event()]], [WHOLE])
    assert await asyncio.wait_for(desk.heard(), 5) == "We are open at nine."
    assert desk.first.cut_off.is_set()


async def test_the_deadline_is_for_words_not_for_whatever_else_comes() -> None:
    class Dripping(ScriptedModel):
        async def reply(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[ReplyItem, None]:
            while True:
                await asyncio.sleep(0.01)
            yield EndCall()

    desk = Desk([])
    model = ResilientModel([Choice("openai", Dripping())], desk.breakers, desk.settings, lambda: 0.0)
    with pytest.raises(ProviderFailed, match=r"no words within 0\.05 s"):
        async with aclosing(model.reply(PROMPT)) as stream:
            await anext(stream)


async def test_another_reply_is_not_mixed_with_what_was_said_but_continues_it() -> None:
    desk = Desk([["We are ", DOWN]], [["Our hours begin", asyncio.Event()], ["open ", "at nine.", EndCall()]])
    *words, end = await asyncio.wait_for(desk.items(), 5)
    assert "".join(item.text for item in words if isinstance(item, TextDelta)) == "We are open at nine."
    assert end == EndCall()
    assert desk.second.cut_off.is_set()
    again, continuing = desk.second.asked
    assert again == PROMPT
    assert continuing[:2] == PROMPT
    assert continuing[2] == ChatMessage(role="assistant", content="We are ")


async def test_the_call_is_ended_once() -> None:
    desk = Desk([["Bye!", DOWN]], [["Bye!", EndCall(), EndCall(), Usage("m", 1, 1)]])
    assert await desk.items() == [TextDelta("Bye!"), EndCall(), Usage("m", 1, 1, "offline")]
    desk = Desk([["Bye!", EndCall(), DOWN]], [["Bye!", EndCall()]])
    assert await desk.items() == [TextDelta("Bye!"), EndCall()]
    assert desk.asked == (1, 0)


async def test_the_usage_names_who_answered() -> None:
    desk = Desk([WHOLE, [REFUSED]], [WHOLE])
    assert (await desk.items())[-1] == Usage("model-2", 5, 3, "openai")
    assert desk.model.provider == "openai"
    assert (await desk.items())[-1] == Usage("model-2", 5, 3, "offline")
    assert desk.model.provider == "offline"


async def test_a_choice_that_failed_comes_last_until_it_has_rested() -> None:
    desk = Desk([[LATE], WHOLE, WHOLE], [WHOLE, WHOLE])
    for asked in ((1, 1), (1, 2)):
        assert await desk.heard() == "We are open at nine."
        assert desk.asked == asked
    desk.now = 30.0
    assert await desk.heard() == "We are open at nine."
    assert desk.asked == (2, 2)


async def test_a_choice_whose_breaker_is_open_is_not_asked() -> None:
    desk = Desk([WHOLE], [WHOLE])
    for _ in range(3):
        await desk.breakers.failed("llm.openai", "timeout")
    assert await desk.heard() == "We are open at nine."
    assert desk.asked == (0, 1)
    for _ in range(3):
        await desk.breakers.failed("llm.offline", "timeout")
    with pytest.raises(ProviderFailed, match="offline rests after failures"):
        await desk.items()
    assert desk.asked == (0, 1)


async def test_failures_open_the_breaker_and_successes_close_it() -> None:
    desk = Desk([[DOWN], [DOWN], [DOWN], WHOLE, WHOLE], None)
    for _ in range(2):
        with pytest.raises(ProviderFailed):
            await desk.items()
    assert desk.asked == (3, 0)
    assert desk.breakers.states() == {"llm.openai": "open"}
    desk.now += 30
    for state in ("half-open", "closed"):
        assert await desk.heard() == "We are open at nine."
        assert desk.breakers.states() == {"llm.openai": state}


async def test_a_request_that_was_wrong_says_nothing_of_the_provider() -> None:
    desk = Desk([[REFUSED]] * 5, None)
    for _ in range(5):
        with pytest.raises(ProviderFailed):
            await desk.items()
    assert desk.breakers.allows("llm.openai")


async def test_a_reply_that_nobody_wants_to_the_end_is_a_success() -> None:
    desk = Desk([["We are ", asyncio.Event()], [asyncio.Event()]])
    await desk.breakers.failed("llm.openai", "timeout")
    await desk.breakers.failed("llm.openai", "timeout")
    stream = desk.model.reply(PROMPT)
    assert await anext(stream) == TextDelta("We are ")
    await stream.aclose()
    assert desk.first.cut_off.is_set()
    await desk.breakers.failed("llm.openai", "timeout")
    assert desk.breakers.allows("llm.openai"), "the failures were not in a row"


async def test_failures_and_switches_are_counted() -> None:
    def counts() -> list[float]:
        failures = {"role": "llm", "provider": "openai", "reason": "timeout"}
        switches = {"role": "llm", "from": "openai", "to": "offline"}
        return [
            REGISTRY.get_sample_value("trunkline_provider_failures_total", failures) or 0.0,
            REGISTRY.get_sample_value("trunkline_provider_switches_total", switches) or 0.0,
        ]

    before = counts()
    desk = Desk([[LATE]], [WHOLE, WHOLE])
    await desk.items()
    await desk.items()
    assert [after - then for after, then in zip(counts(), before, strict=True)] == [1.0, 1.0]


async def test_closing_it_closes_all() -> None:
    desk = Desk([], [])
    await desk.model.close()
    assert desk.first.closed
    assert desk.second.closed
