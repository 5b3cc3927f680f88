"""What a dialogue remembers, and how it is kept."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.llm.memory import BUCKET, CUT_SHORT, KEEP_S, Memory, MemoryStore, Record
from services.llm.prompt import system_prompt
from services.llm.provider import ChatMessage
from shared.agents import AgentProfile, LlmProfile
from shared.bus import Bucket, BusError, Disconnected
from shared.memory_bus import MemoryBus


def said(memory: Memory) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in memory.prompt("Be kind.")[1:]]


def test_the_prompt_comes_first() -> None:
    memory = Memory(Record(), 10)
    memory.caller_said("hello")
    assert memory.prompt("Be kind.") == [
        ChatMessage(role="system", content="Be kind."),
        ChatMessage(role="user", content="hello"),
    ]


def test_the_assistant_said_what_the_caller_heard() -> None:
    memory = Memory(Record(), 10)
    generation = memory.reply_began(memory.caller_said("what are your hours"))
    assert said(memory) == [("user", "what are your hours")]
    memory.heard(generation, "We are ", over=False)
    assert said(memory)[1:] == [("assistant", "We are")]
    memory.heard(generation, "We are open from noon. ", over=True)
    assert said(memory)[1:] == [("assistant", "We are open from noon.")]


def test_what_was_heard_late_stands_before_the_turn_that_cut_it_short() -> None:
    memory = Memory(Record(), 10)
    first = memory.reply_began(memory.caller_said("tell me a story"))
    memory.next_generation()
    memory.caller_said("stop")
    memory.heard(first, "Once upon ", over=True)
    assert said(memory) == [("user", "tell me a story"), ("assistant", "Once upon"), ("user", "stop")]


def test_a_reply_that_nobody_heard_leaves_nothing() -> None:
    memory = Memory(Record(), 10)
    generation = memory.reply_began(memory.caller_said("hello"))
    assert memory.heard(generation, " ", over=True) is not None
    assert [entry.role for entry in memory.record.messages] == ["user"]


def test_what_the_caller_says_without_a_reply_between_is_one_message() -> None:
    memory = Memory(Record(), 10)
    generation = memory.reply_began(memory.caller_said("I would like"))
    memory.heard(generation, "", over=True, interrupted=True)
    memory.caller_said(" to book a table ")
    memory.caller_said("for four people")
    assert said(memory) == [("user", "I would like to book a table for four people")]
    assert [entry.content for entry in memory.record.messages] == [
        "I would like",
        " to book a table ",
        "for four people",
    ]


def test_a_reply_that_nobody_has_heard_yet_does_not_part_what_the_caller_says() -> None:
    memory = Memory(Record(), 10)
    memory.reply_began(memory.caller_said("I would like"))
    memory.next_generation()
    memory.caller_said("to book a table")
    assert said(memory) == [("user", "I would like to book a table")]


def test_the_model_reads_where_its_reply_was_interrupted_and_memory_holds_the_words_alone() -> None:
    memory = Memory(Record(), 10)
    generation = memory.reply_began(memory.caller_said("tell me about the menu"))
    memory.heard(generation, "We start with tomato ", over=False)
    assert said(memory)[1:] == [("assistant", "We start with tomato")]
    entry = memory.heard(generation, "We start with tomato soup ", over=True, interrupted=True)
    assert said(memory)[1:] == [("assistant", "We start with tomato soup —")]
    assert entry is not None
    assert (entry.content, entry.interrupted) == ("We start with tomato soup ", True)


def test_the_model_is_told_how_to_read_the_conversation() -> None:
    profile = AgentProfile(name="bella", company="Bella", prompt="Be kind. ", llm=LlmProfile(max_reply_chars=99))
    prompt = system_prompt(profile)
    assert prompt.startswith("Be kind.\nYou are the agent 'bella' of Bella, ")
    for part in ("under 99 characters", f'ends with "{CUT_SHORT}" was interrupted', '"keys 1 2 3"'):
        assert part in prompt
    assert "end_call" not in prompt, "the provider that offers the tool speaks of it"


def test_a_void_reply_is_interrupted_before_it_is_known_what_was_heard_of_it() -> None:
    memory = Memory(Record(), 10)
    generation = memory.reply_began(memory.caller_said("tell me about the menu"))
    memory.heard(generation, "We start with ", over=False)
    memory.next_generation()
    memory.caller_said("stop")
    assert said(memory)[1:] == [("assistant", "We start with —"), ("user", "stop")]


def test_a_reply_that_was_heard_to_its_end_is_not_interrupted_by_what_comes_later() -> None:
    memory = Memory(Record(), 10)
    memory.heard(memory.reply_began(0), "Good day!", over=True)
    memory.next_generation()
    assert said(memory) == [("assistant", "Good day!")]


@pytest.mark.parametrize("earlier", [0, 1, 3, 4, 5])
def test_the_prompt_of_an_upcoming_turn_is_that_of_the_committed_one_and_is_not_remembered(earlier: int) -> None:
    memory = Memory(Record(), 4)
    for number in range(earlier):
        memory.caller_said(f"question {number}")
        if number % 2:
            memory.heard(memory.reply_began(number), "answer", over=True, interrupted=number == 3)
    before = memory.record.model_copy(deep=True)
    upcoming = memory.prompt("Be kind.", "and now ")
    assert memory.record == before
    memory.caller_said("and now ")
    assert memory.prompt("Be kind.") == upcoming
    assert upcoming[-1].content.endswith("and now")


def test_a_reply_that_is_over_does_not_change() -> None:
    memory = Memory(Record(), 10)
    generation = memory.reply_began(0)
    assert memory.heard(generation, "Good day!", over=True) is not None
    assert memory.heard(generation, "Good day! How can I help?", over=True) is None
    assert memory.heard(generation + 1, "What?", over=True) is None
    assert said(memory) == [("assistant", "Good day!")]


def test_only_the_newest_messages_are_remembered_and_the_prompt_is_not_counted() -> None:
    memory = Memory(Record(), 4)
    for number in range(5):
        generation = memory.reply_began(memory.caller_said(f"question {number}"))
        memory.heard(generation, f"answer {number}", over=True)
    assert [message.content for message in memory.prompt("Be kind.")] == [
        "Be kind.",
        "question 3",
        "answer 3",
        "question 4",
        "answer 4",
    ]


def test_generations_and_turns_grow() -> None:
    memory = Memory(Record(), 10)
    assert not memory.begun
    assert [memory.reply_began(0), memory.next_generation()] == [1, 2]
    assert [memory.caller_said("a"), memory.caller_said("b")] == [1, 2]
    assert memory.begun


def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work)


async def test_another_worker_goes_on_where_the_first_stopped() -> None:
    bucket = await MemoryBus().bucket(BUCKET, KEEP_S)
    first = Memory(Record(), 10)
    generation = first.reply_began(first.caller_said("hello"))
    first.heard(generation, "Good day!", over=True, interrupted=True)
    store = MemoryStore(bucket, "CA1", spawn)
    store.save(first.record)
    await store.close(1)

    assert await MemoryStore(bucket, "CA2", spawn).load() == Record()
    second = Memory(await MemoryStore(bucket, "CA1", spawn).load(), 10)
    assert said(second) == said(first)
    assert second.caller_said("and now") == 2
    assert second.next_generation() == generation + 1


async def test_a_dialogue_that_cannot_be_read_is_no_new_dialogue() -> None:
    bucket = await MemoryBus().bucket(BUCKET, KEEP_S)
    await bucket.put("CA1", b'{"generation": "many"}')
    with pytest.raises(BusError, match="CA1"):
        await MemoryStore(bucket, "CA1", spawn).load()


class SlowBucket:
    """Holds each put up until it is let go."""

    def __init__(self, *failures: BusError | None) -> None:
        self.values: list[bytes] = []
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()
        self._failures = list(failures)

    async def put(self, key: str, value: bytes) -> int:
        self.entered.set()
        await self.go_on.wait()
        if self._failures and (failure := self._failures.pop(0)) is not None:
            raise failure
        self.values.append(value)
        return len(self.values)


async def test_a_slow_broker_gets_the_newest_state_only() -> None:
    bucket = SlowBucket()
    store = MemoryStore(bucket_like(bucket), "CA1", spawn)
    for generation in (1, 2, 3):
        store.save(Record(generation=generation))
        await bucket.entered.wait()
    bucket.go_on.set()
    await store.close(1)
    assert [Record.model_validate_json(value).generation for value in bucket.values] == [1, 3]


async def test_a_failed_save_is_logged_and_counted_and_the_next_one_works() -> None:
    def failures() -> float:
        return REGISTRY.get_sample_value("trunkline_dialogue_saves_failed_total") or 0.0

    before = failures()
    bucket = SlowBucket(Disconnected("no broker"))
    bucket.go_on.set()
    store = MemoryStore(bucket_like(bucket), "CA1", spawn)
    record = Memory(Record(), 10)
    record.caller_said("a secret")
    with capture_logs() as logs:
        store.save(record.record)
        await store.close(1)
    assert [(entry["event"], entry["call_id"]) for entry in logs] == [("dialogue_not_saved", "CA1")]
    assert "secret" not in str(logs)
    assert failures() == before + 1
    store.save(Record(generation=2))
    await store.close(1)
    assert [Record.model_validate_json(value).generation for value in bucket.values] == [2]


async def test_closing_does_not_wait_for_a_broker_that_is_gone() -> None:
    bucket = SlowBucket()
    tasks: list[asyncio.Task[None]] = []

    def remember(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        tasks.append(spawn(work))
        return tasks[-1]

    store = MemoryStore(bucket_like(bucket), "CA1", remember)
    store.save(Record())
    await asyncio.wait_for(store.close(0.01), 1)
    assert not tasks[0].done()
    bucket.go_on.set()
    await tasks[0]


def bucket_like(bucket: SlowBucket) -> Bucket:
    return bucket  # type: ignore[return-value]  # only `put` is asked of it
