"""What becomes of a reply: prepared, released or discarded, interrupted, too long, of a model that fails."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from services.llm.actions import Commit
from services.llm.answer import APOLOGY, FAREWELL, Answerer
from services.llm.draft import Draft
from services.llm.latency import Latency
from services.llm.outbox import Outbox
from services.llm.provider import ChatMessage, EndCall, ProviderFailed, Usage
from services.llm.record import Spoken
from services.llm.reply import Reply
from shared.agents import AgentProfile, LlmProfile
from shared.call import Call
from shared.channel import CallChannel
from shared.memory_bus import MemoryBus
from shared.messages import ErrorHappened, Message, ReplyEnd, ReplyText, UsageCounted
from tests.fakes import Heard
from tests.llm_model import ScriptedModel, Step

M = TypeVar("M", bound=Message)
HELLO = [ChatMessage(role="system", content="You are Bella."), ChatMessage(role="user", content="hello")]
"""19 characters: 5 tokens."""
LONGER = [HELLO[0], ChatMessage(role="user", content="hello there")]


class Desk:
    """An answerer, and what the call's other stages receive of it."""

    def __init__(self, bus: MemoryBus, heard: Heard, model: ScriptedModel, max_reply_chars: int) -> None:
        profile = AgentProfile(name="bella", llm=LlmProfile(max_reply_chars=max_reply_chars))
        self.bus = bus
        self.heard = heard
        self.model = model
        self.call = Call(profile, CallChannel(bus, "CA1", "llm", 1))
        self.failed = asyncio.Event()
        self.call.failed = self.failed.set
        self.now = 1000.0
        self.latency = Latency(Commit("hello", 999.0, 999.5), 999.5, 1000.0)
        self.outbox = Outbox(self.call)
        self.answerer = Answerer(self.call, "scripted", model, self.outbox, lambda: self.now)
        self._replies = 0

    def reply(self) -> Reply:
        """The next one."""
        self._replies += 1
        return Reply(Spoken(generation=self._replies, turn_id=1), self.outbox.send)

    async def answer(self, messages: list[ChatMessage] = HELLO, draft: Draft | None = None) -> bool:
        """Answer to the end."""
        return await asyncio.wait_for(self.answerer.answer(self.reply(), messages, self.latency, draft), 5)

    def begin(self, *args: Any) -> asyncio.Task[bool]:
        """Answer beside the test."""
        answering: Coroutine[Any, Any, bool] = self.answerer.answer(self.reply(), HELLO, self.latency, *args)
        return asyncio.create_task(answering)

    async def said(self) -> list[str]:
        """The pieces of the newest reply, when it is over."""
        end = await self.heard.wait_for(ReplyEnd, self._replies)
        pieces = [piece for piece in self.of(ReplyText) if piece.generation == end.generation]
        assert end.pieces == pieces[-1].sequence + 1
        return [piece.text for piece in pieces]

    def of(self, kind: type[M]) -> list[M]:
        """The messages of a type so far."""
        return [message for message in self.heard.messages if isinstance(message, kind)]

    async def amounts(self) -> list[dict[str, float]]:
        """All usage that was counted when the call had ended."""
        await self.answerer.close()
        await self.bus.settle()
        return [usage.amounts for usage in self.of(UsageCounted)]


class Desks:
    """Opens desks and closes them."""

    def __init__(self) -> None:
        self._open: list[Desk] = []

    async def __call__(self, *scripts: list[Step], max_reply_chars: int = 300) -> Desk:
        bus = MemoryBus()
        self._open.append(Desk(bus, await Heard.on(bus, "CA1"), ScriptedModel(*scripts), max_reply_chars))
        return self._open[-1]

    async def close(self) -> None:
        for desk in self._open:
            await desk.answerer.close()
            await desk.call.close()
            await desk.bus.close()


@pytest_asyncio.fixture
async def desk_of() -> AsyncIterator[Desks]:
    desks = Desks()
    yield desks
    await desks.close()


async def until(condition: Callable[[], bool]) -> None:
    """Let the others run until it holds."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"trunkline_{name}_total", labels) or 0.0


class Speculation:
    """What the metrics of speculation have grown by."""

    def __init__(self) -> None:
        self._before = self._now()

    def _now(self) -> tuple[float, ...]:
        results = [metric("speculations", result=result) for result in ("hit", "miss")]
        return (*results, metric("speculation_wasted_tokens"))

    @property
    def counted(self) -> tuple[float, ...]:
        """Hits, misses, wasted tokens."""
        return tuple(now - before for now, before in zip(self._now(), self._before, strict=True))


async def test_a_model_that_fails_costs_an_apology_and_not_the_call(desk_of: Desks) -> None:
    desk = await desk_of(["We ", ProviderFailed("no quota")], ["Better now."])
    assert not await desk.answer()
    assert await desk.said() == [APOLOGY]
    error = await desk.heard.wait_for(ErrorHappened)
    assert (error.error, error.fatal) == ("no quota", False)
    assert not await desk.answer()
    assert await desk.said() == ["Better now."]
    assert not desk.failed.is_set()


async def test_a_model_that_says_nothing_has_failed(desk_of: Desks) -> None:
    desk = await desk_of([" ", "\n"])
    await desk.answer()
    assert await desk.said() == [APOLOGY]


async def test_a_model_that_fails_in_mid_reply_is_not_asked_again(desk_of: Desks) -> None:
    desk = await desk_of(["We are open from noon until eleven. But on", ProviderFailed("lost")])
    await desk.answer()
    assert await desk.said() == ["We are open from noon until eleven. ", APOLOGY]
    assert len(desk.model.asked) == 1


async def test_a_defect_in_the_model_ends_the_stage_and_not_in_silence(desk_of: Desks) -> None:
    desk = await desk_of([RuntimeError("a bug")])
    with pytest.raises(RuntimeError, match="a bug"):
        await desk.answer()
    assert (await desk.heard.wait_for(ErrorHappened)).fatal
    assert desk.failed.is_set()


async def test_a_reply_that_is_too_long_ends_and_the_model_is_stopped(desk_of: Desks) -> None:
    more = asyncio.Event()
    desk = await desk_of(
        ["We are open from noon. ", "And then ", "there is more to say. ", more, "No more."], max_reply_chars=40
    )
    await desk.answer()
    assert await desk.said() == ["We are open from noon. "]
    await asyncio.wait_for(desk.model.cut_off.wait(), 5)
    assert "No more." not in desk.model.said


async def test_the_model_ends_the_call_with_its_words(desk_of: Desks) -> None:
    desk = await desk_of(["Goodbye!", EndCall(), Usage("model-1", 12, 3)])
    assert await desk.answer()
    assert await desk.said() == ["Goodbye!"]
    assert await desk.amounts() == [{"input_tokens": 12, "output_tokens": 3}]


async def test_a_call_that_is_ended_without_a_word_ends_with_a_farewell(desk_of: Desks) -> None:
    desk = await desk_of([EndCall(), Usage("model-1", 12, 1)])
    assert await desk.answer()
    assert await desk.said() == [FAREWELL]
    assert len(desk.model.asked) == 1
    assert desk.latency.first_text_at is None


async def test_an_apology_does_not_end_the_call(desk_of: Desks) -> None:
    desk = await desk_of(["Thank you for calling, and ", EndCall(), ProviderFailed("lost")])
    assert not await desk.answer()
    assert await desk.said() == ["Thank you for calling, ", APOLOGY]


async def test_usage_is_counted_for_the_provider(desk_of: Desks) -> None:
    desk = await desk_of(["Yes?", Usage("model-1", 12, 3)])
    await desk.answer()
    usage = await desk.heard.wait_for(UsageCounted)
    assert (usage.provider, usage.model) == ("scripted", "model-1")
    assert await desk.amounts() == [{"input_tokens": 12, "output_tokens": 3}]


async def test_the_usage_of_an_interrupted_reply_is_estimated(desk_of: Desks) -> None:
    more = asyncio.Event()
    desk = await desk_of(["We are open from noon. ", "Every", more])
    answering = desk.begin()
    await desk.heard.wait_for(ReplyText)
    answering.cancel()
    await asyncio.wait((answering,))
    await asyncio.wait_for(desk.model.cut_off.wait(), 5)
    usage = await desk.heard.wait_for(UsageCounted)
    assert usage.model == "scripted-1"
    assert await desk.amounts() == [{"estimated_input_tokens": 5, "estimated_output_tokens": 7}]


async def test_a_request_that_failed_at_once_costs_nothing(desk_of: Desks) -> None:
    desk = await desk_of([ProviderFailed("no quota")], ["We ", ProviderFailed("lost")])
    await desk.answer()
    await desk.answer()
    assert await desk.amounts() == [{"estimated_input_tokens": 5, "estimated_output_tokens": 1}]


async def test_nothing_of_a_prepared_reply_is_heard_before_its_release(desk_of: Desks) -> None:
    speculation = Speculation()
    done = asyncio.Event()
    desk = await desk_of(["We are open. ", EndCall(), Usage("model-1", 12, 3), done.set])
    desk.now = 998.0
    draft = desk.answerer.prepare(HELLO)
    await asyncio.wait_for(done.wait(), 5)
    await desk.bus.settle()
    assert not desk.of(ReplyText)
    desk.now = 1000.5
    assert await desk.answer(draft=draft)
    assert await desk.said() == ["We are open. "]
    assert len(desk.model.asked) == 1
    assert desk.latency.speculated
    assert (desk.latency.first_text_at, desk.latency.first_piece_at) == (998.0, 1000.5)
    draft.discard()
    assert speculation.counted == (1, 0, 0)
    assert await desk.amounts() == [{"input_tokens": 12, "output_tokens": 3}]


async def test_a_draft_that_is_still_being_written_is_spoken_as_it_grows(desk_of: Desks) -> None:
    more = asyncio.Event()
    desk = await desk_of(["We are open from noon. ", "And ", more, "until eleven."])
    answering = desk.begin(desk.answerer.prepare(HELLO))
    assert (await desk.heard.wait_for(ReplyText)).text == "We are open from noon. "
    more.set()
    assert not await asyncio.wait_for(answering, 5)
    assert await desk.said() == ["We are open from noon. ", "And until eleven."]


async def test_a_draft_for_other_words_is_thrown_away(desk_of: Desks) -> None:
    speculation = Speculation()
    more = asyncio.Event()
    written = asyncio.Event()
    desk = await desk_of(["Yes? ", written.set, more], ["We are open."])
    draft = desk.answerer.prepare(HELLO)
    await asyncio.wait_for(written.wait(), 5)
    await desk.answer(LONGER, draft)
    assert await desk.said() == ["We are open."]
    assert desk.model.asked == [HELLO, LONGER]
    assert desk.model.cut_off.is_set()
    assert not desk.latency.speculated
    draft.discard()
    assert speculation.counted == (0, 1, 5 + 2)
    assert {"estimated_input_tokens": 5, "estimated_output_tokens": 2} in await desk.amounts()


async def test_a_finished_draft_that_is_discarded_is_paid_for_once(desk_of: Desks) -> None:
    speculation = Speculation()
    done = asyncio.Event()
    desk = await desk_of(["Yes?", Usage("model-1", 12, 3), done.set])
    draft = desk.answerer.prepare(HELLO)
    await asyncio.wait_for(done.wait(), 5)
    draft.discard()
    draft.discard()
    assert speculation.counted == (0, 1, 15)
    assert await desk.amounts() == [{"input_tokens": 12, "output_tokens": 3}]


async def test_a_draft_that_is_discarded_before_it_began_costs_nothing(desk_of: Desks) -> None:
    speculation = Speculation()
    desk = await desk_of()
    desk.answerer.prepare(HELLO).discard()
    assert await desk.amounts() == []
    assert (desk.model.asked, speculation.counted) == ([], (0, 1, 0))


async def test_a_draft_that_had_failed_costs_nothing(desk_of: Desks) -> None:
    speculation = Speculation()
    lost = ProviderFailed("lost")
    desk = await desk_of([lost], ["We are open."])
    draft = desk.answerer.prepare(HELLO)
    await until(lambda: draft.failure is lost)
    assert not desk.of(ErrorHappened)
    await desk.answer(draft=draft)
    assert await desk.said() == ["We are open."]
    assert speculation.counted == (0, 1, 0)


async def test_a_draft_that_fails_while_it_is_awaited_is_the_answer(desk_of: Desks) -> None:
    lost = ProviderFailed("lost")
    fail = asyncio.Event()
    desk = await desk_of([fail, lost])
    answering = desk.begin(desk.answerer.prepare(HELLO))
    await until(lambda: desk.latency.speculated)
    fail.set()
    assert not await asyncio.wait_for(answering, 5)
    assert await desk.said() == [APOLOGY]


async def test_the_end_of_the_call_stops_a_draft_and_counts_it(desk_of: Desks) -> None:
    written = asyncio.Event()
    desk = await desk_of(["Yes? ", written.set, asyncio.Event()])
    desk.answerer.prepare(HELLO)
    await asyncio.wait_for(written.wait(), 5)
    assert await desk.amounts() == [{"estimated_input_tokens": 5, "estimated_output_tokens": 2}]
    await asyncio.wait_for(desk.model.cut_off.wait(), 5)
    assert desk.model.closed


BEGUN = ["We are open from noon, ", "until eleven. "]
WHOLE: list[Step] = ["We are open from noon, until eleven. ", "Every day. And on Sundays too."]


async def take_up(desk: Desk, *pieces: str) -> list[tuple[int, str]]:
    """Have a reply answered whose `pieces` another worker has sent; what is sent then."""
    spoken = Spoken(generation=1, turn_id=1, pieces=list(pieces))
    reply = Reply(spoken, desk.outbox.send)
    await asyncio.wait_for(desk.answerer.answer(reply, HELLO, desk.latency), 5)
    await desk.heard.wait_for(ReplyEnd)
    return [(piece.sequence, piece.text) for piece in desk.of(ReplyText)]


async def test_a_reply_that_another_worker_began_goes_on_behind_its_words(desk_of: Desks) -> None:
    desk = await desk_of(WHOLE)
    assert await take_up(desk, *BEGUN) == [(2, "Every day. "), (3, "And on Sundays too.")]
    assert desk.model.asked == [HELLO]


async def test_a_model_that_finds_other_words_is_told_what_was_said_and_goes_on(desk_of: Desks) -> None:
    desk = await desk_of(["From noon, dear caller, on any day."], ["Every day."])
    assert await take_up(desk, *BEGUN) == [(2, "Every day.")]
    assert desk.model.asked[0] == HELLO
    assert [message.role for message in desk.model.asked[1]] == ["system", "user", "assistant", "system"]
    assert desk.model.asked[1][2].content == "We are open from noon, until eleven."


async def test_a_model_that_repeats_itself_when_it_is_told_to_go_on_says_nothing_twice(desk_of: Desks) -> None:
    desk = await desk_of(["From noon."], ["We are open from noon, until eleven. ", "Every day."])
    assert await take_up(desk, *BEGUN) == [(2, "Every day.")]


async def test_a_reply_of_which_all_was_sent_only_ends(desk_of: Desks) -> None:
    desk = await desk_of(["We are open from noon, until eleven."])
    assert await take_up(desk, *BEGUN) == []


async def test_a_reply_taken_over_ends_the_call_if_it_did_before(desk_of: Desks) -> None:
    desk = await desk_of(["Thank you for your call, ", "goodbye!", EndCall()])
    reply = desk.reply()
    reply.spoken.pieces.append("Thank you for your call, ")
    assert await desk.answerer.answer(reply, HELLO, desk.latency)
    assert await desk.said() == ["goodbye!"]
