"""A stage of a live call is leased again: when, to whom, and what the new worker gets."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from services.gateway.calls import CallRecord
from services.gateway.lines import OpenLine
from shared.messages import (
    AudioIn,
    Digit,
    ErrorHappened,
    LeaseChanged,
    ReplyOnLine,
    SpeechStarted,
    StageTaken,
    TurnsChanged,
)
from shared.messages.audio import unpack_in
from tests.exchange import APOLOGY, MOMENT, Exchange
from tests.fakes import FakeMedia, Heard


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[Exchange]:
    made = Exchange()
    await made.start()
    yield made
    await made.stop()


def worker_of(opened: OpenLine, stage: str) -> str:
    return opened.record.leases[stage].worker


def takeovers(stage: str, reason: str, outcome: str) -> float:
    labels = {"stage": stage, "reason": reason, "outcome": outcome}
    return REGISTRY.get_sample_value("trunkline_takeovers_total", labels) or 0


def granted(heard: Heard, stage: str) -> list[tuple[str, int]]:
    return [
        (message.worker, message.lease_epoch)
        for message in heard.messages
        if isinstance(message, LeaseChanged) and message.leased == stage and message.state == "granted"
    ]


async def test_a_worker_without_heartbeats_is_replaced(exchange: Exchange) -> None:
    before = takeovers("llm", "lost", "taken")
    heard = await Heard.on(exchange.bus, "c1")
    opened, _ = await exchange.connect()
    second = await exchange.hire("llm-2")
    exchange.hands["llm-1"].hang()
    await exchange.go(1.2)
    assert worker_of(opened, "llm") == "llm-1"
    await exchange.go(0.1)
    taken = await heard.wait_for(StageTaken)
    assert (taken.leased, taken.worker, taken.lease_epoch, taken.epoch) == ("llm", "llm-2", 2, 1)
    assert taken.at - taken.since == pytest.approx(1.3, abs=0.1)
    assert taken.reply == ReplyOnLine()
    assert granted(heard, "llm") == [("llm-1", 1), ("llm-2", 2)]
    record = await exchange.store.get("c1")
    assert record
    assert (record.leases["llm"].worker, record.leases["llm"].epoch) == ("llm-2", 2)
    assert [(request.line, request.epoch) for request in second.requests] == [(1, 2)]
    assert second.requests[0].line_opened_at == opened.line.uplink.opened_at
    await exchange.go(3)
    assert sum(isinstance(message, StageTaken) for message in heard.messages) == 1
    assert takeovers("llm", "lost", "taken") == before + 1


async def test_a_worker_that_the_broker_does_not_know_is_replaced_at_once(exchange: Exchange) -> None:
    opened, _ = await exchange.connect()
    await exchange.hire("tts-2")
    await exchange.hands["tts-1"].die()
    await exchange.go(0.2)
    assert worker_of(opened, "tts") == "tts-1"
    await exchange.go(0.4)
    await exchange.until(lambda: worker_of(opened, "tts") == "tts-2")
    assert {worker_of(opened, stage) for stage in ("stt", "llm")} == {"stt-1", "llm-1"}


async def test_while_the_broker_is_away_nobody_is_given_up(exchange: Exchange) -> None:
    opened, _ = await exchange.connect()
    await exchange.hire("tts-2")
    exchange.beats = False
    for hand in exchange.hands.values():
        hand.beats = False
    await exchange.go(5)
    assert {stage: worker_of(opened, stage) for stage in opened.held} == {
        "stt": "stt-1", "llm": "llm-1", "tts": "tts-1",
    }  # fmt: skip


async def test_fifty_calls_of_one_worker_are_repaired_side_by_side(exchange: Exchange) -> None:
    lines = [(await exchange.connect(f"c{number}"))[0] for number in range(50)]
    await exchange.hire("stt-2")
    await exchange.hands["stt-1"].die()
    await exchange.go(0.6)
    await exchange.until(lambda: {worker_of(opened, "stt") for opened in lines} == {"stt-2"})
    assert len(exchange.hands["stt-2"].requests) == 50


def spoken(seqs: range) -> bytes:
    return b"".join(bytes([seq]) * 160 for seq in seqs)


async def test_the_new_ear_hears_the_open_utterance_then_the_caller_and_nothing_twice(exchange: Exchange) -> None:
    opened, media = await exchange.connect()
    for seq in range(48):
        media.say(20 * seq, bytes([seq]) * 160)
    await exchange.settle()
    await exchange.hands["stt-1"].channels[0].send(SpeechStarted(utterance=1, t_ms=700, line=1))
    await exchange.settle()
    second = await exchange.hire("stt-2")
    second.hang()
    await exchange.hands["stt-1"].die()
    # The next worker hangs as well: the caller goes on speaking, and is only kept.
    await exchange.go(0.6)
    for seq in range(48, 80):
        media.say(20 * seq, bytes([seq]) * 160)
    await exchange.settle()
    published = [unpack_in(body) for subject, body in exchange.bus.published if subject == "call.c1.audio.in"]
    assert b"".join(frame.payload for frame in published) == spoken(range(48))
    third = await exchange.hire("stt-3")
    await exchange.until(lambda: worker_of(opened, "stt") == "stt-3")
    epochs = [request.epoch for request in (*second.requests, *third.requests)]
    assert epochs == [*range(2, 2 + len(epochs))]
    for seq in range(80, 100):
        media.say(20 * seq, bytes([seq]) * 160)
    await exchange.settle()
    await exchange.until(lambda: third.frames and third.frames[-1].timestamp_ms == 1920)
    assert third.frames[0] == AudioIn(1, 5, 400, spoken(range(20, 24)))
    assert [frame.seq for frame in third.frames] == [*range(5, 5 + len(third.frames))]
    assert b"".join(frame.payload for frame in third.frames) == spoken(range(20, 100))


async def test_a_hung_worker_is_not_asked(exchange: Exchange) -> None:
    second, third = await exchange.hire("stt-2"), await exchange.hire("stt-3")
    second.hang()
    await exchange.go(0.7)
    for number in range(20):
        await exchange.ring(f"c{number}")
    assert second.requests == []
    assert len(third.requests) > 0


async def test_a_call_that_met_a_hung_worker_is_given_to_another(exchange: Exchange) -> None:
    exchange.hands["stt-1"].hang()
    second = await exchange.hire("stt-2")
    await exchange.go(0.5)
    second.hang()
    asking = asyncio.create_task(exchange.switchboard.answer("c1", "", "+15550100"))
    await exchange.settle()
    await exchange.hire("stt-3")
    await exchange.go(0.7)
    await asyncio.wait_for(asking, 5)
    record = await exchange.store.get("c1")
    assert record
    assert (record.leases["stt"].worker, record.leases["stt"].epoch) == ("stt-3", 2)


async def test_a_stage_that_fails_is_leased_elsewhere(exchange: Exchange) -> None:
    opened, media = await exchange.connect()
    await exchange.hire("llm-2")
    await exchange.hands["llm-1"].channels[0].send(ErrorHappened(error="bug", fatal=True))
    await exchange.settle()
    await exchange.until(lambda: worker_of(opened, "llm") == "llm-2")
    assert media.played == []


async def test_the_only_worker_of_a_stage_that_fails_gets_another_chance_but_not_many(exchange: Exchange) -> None:
    opened, media = await exchange.connect()
    hand = exchange.hands["llm-1"]
    for epoch in range(1, 5):
        assert opened.record.leases["llm"].epoch == epoch
        await hand.channels[-1].send(ErrorHappened(error="bug", fatal=True))
        await exchange.settle()
        if epoch < 4:
            await exchange.until(lambda epoch=epoch: opened.record.leases["llm"].epoch > epoch)  # type: ignore[misc]
    exchange.keeper.round()
    await media.until_played(1)
    assert media.played == [(APOLOGY, "apology")]
    media.mark("apology")


async def test_without_a_worker_the_caller_is_asked_for_patience_once_and_then_hears_an_apology(
    exchange: Exchange,
) -> None:
    before = takeovers("stt", "gone", "given_up")
    opened, media = await exchange.connect()
    await exchange.hands["stt-1"].die()
    await exchange.hands["llm-1"].die()
    await exchange.go(0.6)
    await media.until_played(2)
    assert media.played == [(MOMENT, "announcement"), (APOLOGY, "apology")]
    assert opened.line.closing
    media.mark("apology")
    await exchange.settle()
    assert takeovers("stt", "gone", "given_up") == before + 1


async def test_a_worker_that_comes_late_goes_on_with_the_call(exchange: Exchange) -> None:
    opened, media = await exchange.connect()
    await exchange.hands["tts-1"].die()
    await exchange.go(0.6)
    await media.until_played(1)
    assert media.played == [(MOMENT, "announcement")]
    await exchange.hire("tts-2")
    await exchange.until(lambda: worker_of(opened, "tts") == "tts-2")
    await exchange.settle()
    assert not opened.line.closing


async def test_the_only_worker_of_a_stage_that_was_merely_slow_keeps_the_call(exchange: Exchange) -> None:
    before = takeovers("stt", "lost", "recovered")
    heard = await Heard.on(exchange.bus, "c1")
    opened, media = await exchange.connect()
    media.say(0, b"a" * 640)
    await exchange.settle()
    hand = exchange.hands["stt-1"]
    hand.hang()
    await exchange.go(1.3)
    media.say(80, b"b" * 640)
    await exchange.settle()
    hand.wake()
    await exchange.go(0.5)
    await exchange.until(lambda: takeovers("stt", "lost", "recovered") == before + 1)
    media.say(160, b"c" * 640)
    await exchange.until(lambda: len(hand.frames) == 3)
    assert [frame.payload[:1] for frame in hand.frames] == [b"a", b"b", b"c"]
    assert (worker_of(opened, "stt"), granted(heard, "stt")) == ("stt-1", [("stt-1", 1)])
    taken = await heard.wait_for(StageTaken)
    assert (taken.leased, taken.lease_epoch) == ("stt", 1)


async def test_a_draining_worker_is_left_at_a_quiet_moment(exchange: Exchange) -> None:
    opened, _ = await exchange.connect()
    await exchange.hire("tts-2")
    voice = exchange.hands["tts-1"]
    await voice.channels[0].send_audio_out(1, 0, b"\x05" * 1600, "One ", last=False)
    await exchange.settle()
    await voice.drain()
    await exchange.go(0.5)
    assert worker_of(opened, "tts") == "tts-1"
    await voice.channels[0].send_audio_out(1, 200, b"\x05" * 1600, "two.", last=True)
    await exchange.settle()
    await exchange.until(lambda: worker_of(opened, "tts") == "tts-2")


async def test_a_draining_worker_keeps_its_call_when_all_others_are_full(exchange: Exchange) -> None:
    opened, media = await exchange.connect()
    (await exchange.hire("stt-2")).state = "busy"
    await exchange.hands["stt-1"].drain()
    await exchange.go(0.5)
    for seq in range(12):
        media.say(20 * seq, bytes([seq]) * 160)
    await exchange.settle()
    assert worker_of(opened, "stt") == "stt-1"
    assert b"".join(frame.payload for frame in exchange.hands["stt-1"].frames) == spoken(range(12))
    exchange.hands["stt-2"].state = "granted"
    await exchange.go(1.5)
    assert worker_of(opened, "stt") == "stt-2"


async def test_a_worker_that_lost_the_broker_is_leased_anew_itself(exchange: Exchange) -> None:
    opened, _ = await exchange.connect()
    await exchange.hire("llm-2")
    exchange.hands["llm-1"].gaps = 1
    await exchange.go(0.1)
    await exchange.until(lambda: opened.record.leases["llm"].epoch == 2)
    assert worker_of(opened, "llm") == "llm-1"
    await exchange.go(2)
    assert opened.record.leases["llm"].epoch == 2


async def test_a_gateway_that_lost_the_broker_leases_all_stages_anew(exchange: Exchange) -> None:
    opened, _ = await exchange.connect()
    exchange.bus.connected, exchange.bus.gaps = False, 1
    await exchange.go(1)
    assert {lease.epoch for lease in opened.record.leases.values()} == {1}
    exchange.bus.connected = True
    await exchange.until(lambda: {lease.epoch for lease in opened.record.leases.values()} == {2})
    # The workers lost it at the same time: their heartbeats tell no news.
    for hand in exchange.hands.values():
        hand.gaps = 1
    await exchange.go(2)
    assert {stage: (lease.worker, lease.epoch) for stage, lease in opened.record.leases.items()} == {
        "stt": ("stt-1", 2), "llm": ("llm-1", 2), "tts": ("tts-1", 2),
    }  # fmt: skip


async def test_keys_are_sent_again_to_a_new_dialogue_only(exchange: Exchange) -> None:
    heard = await Heard.on(exchange.bus, "c1")
    opened, media = await exchange.connect()
    media.press("7")
    await heard.wait_for(Digit)
    for stage in ("stt", "llm"):
        await exchange.hire(f"{stage}-2")
        await exchange.hands[f"{stage}-1"].die()
    await exchange.go(0.6)
    await exchange.until(lambda: (worker_of(opened, "stt"), worker_of(opened, "llm")) == ("stt-2", "llm-2"))
    await heard.wait_for(Digit, 2)
    await exchange.settle()
    keys = [message for message in heard.messages if isinstance(message, Digit)]
    assert [(key.digit, key.number) for key in keys] == [("7", 1), ("7", 1)]


async def test_changed_turns_survive_a_takeover(exchange: Exchange) -> None:
    opened, _ = await exchange.connect()
    someone = exchange.hands["llm-1"].channels[0]
    await someone.send(TurnsChanged(turns={"barge_in": {"min_words": 3}}))
    await someone.send(TurnsChanged(turns={"endpointing_ms": "soon"}))
    await exchange.settle()
    second = await exchange.hire("llm-2")
    await exchange.hands["llm-1"].die()
    await exchange.go(0.6)
    await exchange.until(lambda: worker_of(opened, "llm") == "llm-2")
    assert second.requests[0].profile.turns.barge_in.min_words == 3
    record = await exchange.store.get("c1")
    assert record
    assert record.profile.turns == second.requests[0].profile.turns


def moved_on(record: CallRecord) -> CallRecord:
    return record.model_copy(update={"line": 2, "gateway": "gw-2"})


async def test_a_call_that_moved_on_is_not_taken_over(exchange: Exchange) -> None:
    _, media = await exchange.connect()
    second = await exchange.hire("llm-2")
    before = takeovers("llm", "gone", "void")
    await exchange.hands["llm-1"].die()
    await exchange.store.change("c1", moved_on)
    await exchange.go(0.6)
    assert takeovers("llm", "gone", "void") == before + 1
    assert second.requests == []
    assert media.closed == "taken_over"
    record = await exchange.store.get("c1")
    assert record
    assert record.state == "live"


async def test_a_lease_for_a_call_that_moves_on_meanwhile_is_given_back(exchange: Exchange) -> None:
    opened, _ = await exchange.connect()
    second = await exchange.hire("llm-2")
    heard = await Heard.on(exchange.bus, "c1")
    await exchange.hands["llm-1"].die()

    async def move_on() -> None:
        await exchange.store.change("c1", moved_on)

    second.before_grant = move_on
    await exchange.go(0.6)
    await exchange.until(lambda: second.requests)
    await exchange.until(lambda: opened.line.closing)
    changes = [await heard.wait_for(LeaseChanged, number) for number in (1, 2, 3)]
    assert [(change.state, change.lease_epoch) for change in changes] == [("lost", 1), ("granted", 2), ("released", 2)]


async def test_a_call_whose_worker_is_lost_connects_and_is_repaired_then(exchange: Exchange) -> None:
    _, media = await exchange.connect()
    media.drop()
    await exchange.settle()
    await exchange.hands["stt-1"].die()
    await exchange.go(0.7)
    opened, _ = await exchange.connect()
    assert worker_of(opened, "stt") == "stt-1"
    await exchange.hire("stt-2")
    await exchange.go(1.3)
    await exchange.until(lambda: worker_of(opened, "stt") == "stt-2")
    assert (opened.line.number, opened.line.closing) == (2, False)


@pytest.mark.parametrize("fate", ["drain", "hang"])
async def test_a_call_that_comes_back_leaves_a_worker_that_cannot_go_on(exchange: Exchange, fate: str) -> None:
    opened, media = await exchange.connect()
    media.drop()
    await exchange.settle()
    first, second = exchange.hands["stt-1"], await exchange.hire("stt-2")
    if fate == "drain":
        await first.drain()
    else:
        first.hang()
    await exchange.go(0.7)
    record = await exchange.store.get("c1")
    opened, _ = await exchange.connect()
    assert record
    assert worker_of(opened, "stt") == "stt-2"
    assert second.requests[-1].line == 0
    assert {worker_of(opened, stage) for stage in ("llm", "tts")} == {"llm-1", "tts-1"}
    assert opened.record.gateway == "gw-1"


async def test_no_line_means_no_knocks(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    request = exchange.bus.request

    async def spy(subject: str, payload: bytes, timeout: float) -> bytes:
        asked.append(subject)
        return await request(subject, payload, timeout)

    monkeypatch.setattr(exchange.bus, "request", spy)
    await exchange.go(0.5)
    assert asked == []
    for number in range(5):
        _, media = await exchange.connect(f"c{number}")
        assert isinstance(media, FakeMedia)
    asked.clear()
    exchange.keeper.round()
    await exchange.settle()
    assert sorted(asked) == ["knock.llm.llm-1", "knock.stt.stt-1", "knock.tts.tts-1"]
