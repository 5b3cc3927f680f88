"""What a dialogue remembers, and how it is kept."""

import asyncio
from collections.abc import Coroutine
from copy import deepcopy
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.llm.memory import CUT_SHORT, Memory
from services.llm.prompt import system_prompt
from services.llm.provider import ChatMessage
from services.llm.record import Record
from services.llm.store import BUCKET, KEEP_S, MemoryStore, Superseded
from shared.agents import AgentProfile, LlmProfile
from shared.bus import Bucket, BusError, Disconnected, WrongRevision
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
    generation = memory.reply_began(memory.caller_said("what are your hours")).generation
    assert said(memory) == [("user", "what are your hours")]
    memory.heard(generation, "We are ", over=False)
    assert said(memory)[1:] == [("assistant", "We are")]
    memory.heard(generation, "We are open from noon. ", over=True)
    assert said(memory)[1:] == [("assistant", "We are open from noon.")]


def test_what_was_heard_late_stands_before_the_turn_that_cut_it_short() -> None:
    memory = Memory(Record(), 10)
    first = memory.reply_began(memory.caller_said("tell me a story")).generation
    memory.next_generation()
    memory.caller_said("stop")
    memory.heard(first, "Once upon ", over=True)
    assert said(memory) == [("user", "tell me a story"), ("assistant", "Once upon"), ("user", "stop")]


def test_a_reply_that_nobody_heard_leaves_nothing() -> None:
    memory = Memory(Record(), 10)
    generation = memory.reply_began(memory.caller_said("hello")).generation
    assert memory.heard(generation, " ", over=True) is not None
    assert [entry.role for entry in memory.record.messages] == ["user"]


def test_what_the_caller_says_without_a_reply_between_is_one_message() -> None:
    memory = Memory(Record(), 10)
    generation = memory.reply_began(memory.caller_said("I would like")).generation
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
    generation = memory.reply_began(memory.caller_said("tell me about the menu")).generation
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
    generation = memory.reply_began(memory.caller_said("tell me about the menu")).generation
    memory.heard(generation, "We start with ", over=False)
    memory.next_generation()
    memory.caller_said("stop")
    assert said(memory)[1:] == [("assistant", "We start with —"), ("user", "stop")]


def test_a_reply_that_was_heard_to_its_end_is_not_interrupted_by_what_comes_later() -> None:
    memory = Memory(Record(), 10)
    memory.heard(memory.reply_began(0).generation, "Good day!", over=True)
    memory.next_generation()
    assert said(memory) == [("assistant", "Good day!")]


@pytest.mark.parametrize("earlier", [0, 1, 3, 4, 5])
def test_the_prompt_of_an_upcoming_turn_is_that_of_the_committed_one_and_is_not_remembered(earlier: int) -> None:
    memory = Memory(Record(), 4)
    for number in range(earlier):
        memory.caller_said(f"question {number}")
        if number % 2:
            memory.heard(memory.reply_began(number).generation, "answer", over=True, interrupted=number == 3)
    before = deepcopy(memory.record)
    upcoming = memory.prompt("Be kind.", "and now ")
    assert memory.record == before
    memory.caller_said("and now ")
    assert memory.prompt("Be kind.") == upcoming
    assert upcoming[-1].content.endswith("and now")


def test_a_reply_that_is_over_does_not_change() -> None:
    memory = Memory(Record(), 10)
    generation = memory.reply_began(0).generation
    assert memory.heard(generation, "Good day!", over=True) is not None
    assert memory.heard(generation, "Good day! How can I help?", over=True) is None
    assert memory.heard(generation + 1, "What?", over=True) is None
    assert said(memory) == [("assistant", "Good day!")]


def test_only_the_newest_messages_are_remembered_and_the_prompt_is_not_counted() -> None:
    memory = Memory(Record(), 4)
    for number in range(5):
        generation = memory.reply_began(memory.caller_said(f"question {number}")).generation
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
    assert [memory.reply_began(0).generation, memory.next_generation()] == [1, 2]
    assert [memory.caller_said("a"), memory.caller_said("b")] == [1, 2]
    assert memory.begun


def test_the_rest_that_is_said_on_another_line_belongs_to_the_same_message() -> None:
    memory = Memory(Record(), 10)
    turn_id = memory.caller_said("tell me about the menu")
    first = memory.reply_began(turn_id)
    memory.heard(first.generation, "We start with ", over=True, interrupted=True)
    assert memory.line_lost() is None
    rest = memory.reply_began(turn_id, continues=True)
    rest.before = "We start with"
    assert memory.prompt_of(rest, "Be kind.")[1:] == [ChatMessage(role="user", content="tell me about the menu")]
    memory.heard(rest.generation, "tomato soup.", over=True)
    assert said(memory)[1:] == [("assistant", "We start with tomato soup.")]


def test_a_reply_that_is_answered_anew_has_the_prompt_it_had() -> None:
    memory = Memory(Record(), 3)
    for number in range(4):
        memory.heard(memory.reply_began(number).generation, f"answer {number}", over=True)
        memory.caller_said(f"question {number}")
    asked = memory.prompt("Be kind.")
    reply = memory.reply_began(4)
    memory.heard(reply.generation, "Some words ", over=False)
    assert memory.prompt_of(reply, "Be kind.") == asked


def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work)


async def saved(bucket: Bucket, record: Record, epoch: int = 1) -> MemoryStore:
    """The store of the worker that saved `record`."""
    store = MemoryStore(bucket, "CA1", epoch, spawn)
    store.save(record)
    await store.close(1)
    return store


async def kept(bucket: Bucket) -> Record:
    found = await bucket.get("CA1")
    assert found is not None
    return msgspec.json.decode(found[0], type=Record)


async def test_another_worker_goes_on_where_the_first_stopped() -> None:
    bucket = await MemoryBus().bucket(BUCKET, KEEP_S)
    first = Memory(Record(), 10)
    generation = first.reply_began(first.caller_said("hello")).generation
    first.heard(generation, "Good day!", over=True, interrupted=True)
    await saved(bucket, first.record)

    assert await MemoryStore(bucket, "CA2", 1, spawn).load() == Record(epoch=1)
    second = Memory(await MemoryStore(bucket, "CA1", 2, spawn).load(), 10)
    assert said(second) == said(first)
    assert second.caller_said("and now") == 2
    assert second.next_generation() == generation + 1


async def test_a_dialogue_that_cannot_be_read_is_no_new_dialogue() -> None:
    bucket = await MemoryBus().bucket(BUCKET, KEEP_S)
    await bucket.put("CA1", b'{"generation": "many"}')
    with pytest.raises(BusError, match="CA1"):
        await MemoryStore(bucket, "CA1", 1, spawn).load()


async def test_a_worker_whose_lease_is_older_saves_nothing_and_says_so_once() -> None:
    bucket = await MemoryBus().bucket(BUCKET, KEEP_S)
    stale = await saved(bucket, Record(generation=1, epoch=1))
    left: list[str] = []
    stale.superseded = lambda: left.append("superseded")
    fresh = MemoryStore(bucket, "CA1", 2, spawn)
    record = await fresh.load()
    for generation in (7, 8):
        stale.save(Record(generation=generation, epoch=1))
        await stale.close(1)
    assert left == ["superseded"]
    assert (await kept(bucket)).generation == 1
    record.generation = 2
    fresh.save(record)
    await fresh.close(1)
    assert ((await kept(bucket)).generation, (await kept(bucket)).epoch) == (2, 2)
    with pytest.raises(Superseded):
        await MemoryStore(bucket, "CA1", 1, spawn).load()


async def test_a_worker_that_wakes_after_the_call_does_not_bring_its_dialogue_back() -> None:
    bucket = await MemoryBus().bucket(BUCKET, KEEP_S)
    stale = await saved(bucket, Record(generation=1, epoch=1))
    fresh = MemoryStore(bucket, "CA1", 2, spawn)
    await fresh.load()
    await fresh.forget()
    stale.save(Record(generation=2, epoch=1))
    await stale.close(1)
    assert await bucket.keys() == []


async def test_two_workers_that_begin_at_once_end_with_the_newer_lease() -> None:
    bucket = await MemoryBus().bucket(BUCKET, KEEP_S)
    older, newer = (MemoryStore(bucket, "CA1", epoch, spawn) for epoch in (1, 2))
    await asyncio.gather(older.load(), newer.load())
    older.save(Record(generation=1, epoch=1))
    await older.close(1)
    newer.save(Record(generation=5, epoch=2))
    await newer.close(1)
    assert (await kept(bucket)).generation == 5


class SlowBucket:
    """Holds each save up until it is let go; some are not done, or done and not confirmed."""

    def __init__(self, *failures: BusError | None, unconfirmed: bool = False) -> None:
        self.values: list[bytes] = []
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()
        self._failures = list(failures)
        self._unconfirmed = unconfirmed

    async def get(self, key: str) -> tuple[bytes, int] | None:
        return (self.values[-1], len(self.values)) if self.values else None

    async def create(self, key: str, value: bytes) -> int:
        return await self.update(key, value, 0)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        self.entered.set()
        await self.go_on.wait()
        failure = self._failures.pop(0) if self._failures else None
        if failure is not None and not self._unconfirmed:
            raise failure
        if revision != len(self.values):
            raise WrongRevision(key)
        self.values.append(value)
        if failure is not None:
            raise failure
        return len(self.values)

    @property
    def generations(self) -> list[int]:
        return [msgspec.json.decode(value, type=Record).generation for value in self.values]


async def test_a_slow_broker_gets_the_newest_state_only() -> None:
    bucket = SlowBucket()
    store = MemoryStore(bucket_like(bucket), "CA1", 1, spawn)
    for generation in (1, 2, 3):
        store.save(Record(generation=generation))
        await bucket.entered.wait()
    bucket.go_on.set()
    await store.close(1)
    assert bucket.generations == [1, 3]


async def test_what_changes_before_it_is_written_is_written_once() -> None:
    bucket = SlowBucket()
    bucket.go_on.set()
    store = MemoryStore(bucket_like(bucket), "CA1", 1, spawn)
    record = Record(generation=1)
    store.save(record)
    record.generation = 2
    store.save(record)
    await store.close(1)
    assert bucket.generations == [2]


@pytest.mark.parametrize("unconfirmed", [False, True])
async def test_a_failed_save_is_logged_and_counted_and_tried_again(unconfirmed: bool) -> None:
    def failures() -> float:
        return REGISTRY.get_sample_value("trunkline_dialogue_saves_failed_total") or 0.0

    before = failures()
    bucket = SlowBucket(Disconnected("no broker"), unconfirmed=unconfirmed)
    bucket.go_on.set()
    store = MemoryStore(bucket_like(bucket), "CA1", 1, spawn)
    record = Memory(Record(epoch=1), 10)
    record.caller_said("a secret")
    record.next_generation()
    with capture_logs() as logs:
        store.save(record.record)
        await store.close(1)
    assert [(entry["event"], entry["call_id"]) for entry in logs] == [("dialogue_not_saved", "CA1")]
    assert "secret" not in str(logs)
    assert failures() == before + 1
    assert bucket.generations == ([1, 1] if unconfirmed else [1])
    store.save(Record(generation=2, epoch=1))
    await store.close(1)
    assert bucket.generations[-1] == 2


async def test_closing_does_not_wait_for_a_broker_that_is_gone() -> None:
    bucket = SlowBucket()
    tasks: list[asyncio.Task[None]] = []

    def remember(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        tasks.append(spawn(work))
        return tasks[-1]

    store = MemoryStore(bucket_like(bucket), "CA1", 1, remember)
    store.save(Record())
    await asyncio.wait_for(store.close(0.01), 1)
    assert not tasks[0].done()
    bucket.go_on.set()
    await tasks[0]


def bucket_like(bucket: SlowBucket) -> Bucket:
    return bucket  # type: ignore[return-value]  # it is not asked to delete
