"""The line: audio between a carrier and the call's subjects."""

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

import pytest
import pytest_asyncio

from services.gateway.line import Line, Owner, Sounds
from shared.channel import CallChannel
from shared.memory_bus import MemoryBus
from shared.messages import (
    CallEnded,
    CallStarted,
    Control,
    Digit,
    ErrorHappened,
    LeaseChanged,
    Playback,
    ReplyOnLine,
    StageTaken,
    TurnsChanged,
)
from shared.messages.audio import unpack_in
from tests.fakes import FakeMedia, Heard

APOLOGY = b"\x10" * 80
MOMENT = b"\x20" * 800
STARTED = CallStarted(gateway="gw-1", caller="+1", dialled="+2", agent="bella")
Action = Literal["pause", "resume", "clear", "hangup"]


class SlowMedia(FakeMedia):
    """A socket that can be told to take its time."""

    def __init__(self) -> None:
        super().__init__()
        self.may_send = asyncio.Event()
        self.may_send.set()

    async def play(self, mulaw: bytes, mark: str) -> None:
        await super().play(mulaw, mark)
        await self.may_send.wait()


class Open:
    """An open line with a voice that a test moves."""

    def __init__(self, bus: MemoryBus, heard: Heard) -> None:
        self.bus = bus
        self.heard = heard
        self.media = SlowMedia()
        self.settled: list[str] = []
        self.now = 1000.0
        channel = CallChannel(bus, "c1", "gateway", 1)
        self.failed: list[ErrorHappened] = []
        self.turns: list[TurnsChanged] = []
        owner = Owner(self.settle, self.failed.append, self.change_turns)
        self.line = Line(self.media, channel, "tts", Sounds(APOLOGY, MOMENT), owner, lambda: self.now)
        self.tts = CallChannel(bus, "c1", "tts", 1)
        self.llm = CallChannel(bus, "c1", "llm", 1)
        self.running: asyncio.Task[str]

    async def settle(self, end: str) -> None:
        assert self.media.closed is None
        self.settled.append(end)
        await CallChannel(self.bus, "c1", "gateway", 1).send(CallEnded(reason=end, duration_ms=0))

    async def change_turns(self, message: TurnsChanged) -> None:
        self.turns.append(message)

    async def say(self, *texts: str, generation: int = 1) -> None:
        """A whole reply comes from tts: 200 ms for each of `texts`, told apart by their first bytes."""
        for index, text in enumerate(texts):
            payload, last = bytes([index + 1]) * 1600, text == texts[-1]
            await self.tts.send_audio_out(generation, index * 200, payload, text, last=last, turn_id=7)
        await self.bus.settle()

    async def order(self, action: Action, generation: int) -> None:
        await self.llm.send(Control(action=action, generation=generation))
        await self.bus.settle()

    @property
    def pieces(self) -> list[int]:
        """Which pieces the carrier was sent."""
        return [payload[0] for payload, _ in self.media.played]

    @property
    def told(self) -> list[tuple[str, int, str]]:
        reports = [message for message in self.heard.messages if isinstance(message, Playback)]
        return [(report.state, report.heard_ms, report.heard) for report in reports]

    async def end(self) -> str:
        return await asyncio.wait_for(self.running, 5)


@pytest_asyncio.fixture
async def opened() -> AsyncIterator[Open]:
    bus = MemoryBus()
    made = Open(bus, await Heard.on(bus, "c1"))
    await made.line.open(STARTED)
    made.running = asyncio.create_task(made.line.run())
    yield made
    made.media.drop()
    await made.end()


async def test_the_callers_frames_are_numbered_and_published(opened: Open) -> None:
    for seq in range(5):
        opened.media.say(20 * seq, bytes([seq]) * 160)
    opened.media.hang_up()
    assert await opened.end() == "caller_hung_up"
    frames = [unpack_in(body) for subject, body in opened.bus.published if subject == "call.c1.audio.in"]
    four = b"".join(bytes([seq]) * 160 for seq in range(4))
    assert frames == [(1, 0, 0, four), (1, 1, 80, b"\x04" * 160)]


async def test_a_piece_is_played_with_a_mark_and_reported_when_heard(opened: Open) -> None:
    await opened.tts.send_audio_out(1, 0, b"\x05" * 1600, "Hello.", last=True)
    await opened.media.until_played(1)
    payload, mark = opened.media.played[0]
    assert payload == b"\x05" * 1600
    opened.media.mark(mark)
    finished = await opened.heard.wait_for(Playback, 2)
    assert (finished.state, finished.heard_ms, finished.heard) == ("finished", 200, "Hello.")


async def test_the_start_of_a_reply_tells_its_moments(opened: Open) -> None:
    await opened.tts.send_audio_out(1, 0, b"\x05" * 1600, "Hello.", last=True, turn_id=7, asked_at=999.5)
    await opened.media.until_played(1)
    opened.now += 0.23
    opened.media.mark(opened.media.played[0][1])
    finished = await opened.heard.wait_for(Playback, 2)
    started = await opened.heard.wait_for(Playback)
    assert (started.state, started.turn_id, started.asked_at, started.received_at) == ("started", 7, 999.5, 1000.0)
    assert 0 < started.synthesized_at <= started.at
    assert finished.audible_at == pytest.approx(1000.03)


async def test_clear_reaches_the_carrier_and_tells_the_words_heard(opened: Open) -> None:
    await opened.say("One ", "two ", "three.")
    opened.now += 0.45
    await opened.order("clear", 2)
    assert opened.media.clears == 1
    assert opened.told == [("started", 0, ""), ("cleared", 450, "One two ")]


async def test_a_paused_reply_goes_on_at_the_word_where_it_stopped(opened: Open) -> None:
    await opened.say("One ", "two ", "three.")
    opened.now += 0.3
    await opened.order("pause", 1)
    assert opened.media.clears == 1
    for _, mark in opened.media.played:
        opened.media.mark(mark)
    opened.now += 1.2
    await opened.order("resume", 1)
    assert opened.pieces == [1, 2, 3, 2, 3]
    opened.media.mark(opened.media.played[-1][1])
    assert (await opened.heard.wait_for(Playback, 4)).heard == "One two three."
    assert [state for state, _, _ in opened.told] == ["started", "paused", "resumed", "finished"]
    assert opened.media.clears == 1


async def test_a_reply_that_was_paused_before_it_came_waits(opened: Open) -> None:
    await opened.order("pause", 1)
    await opened.say("One ", "two.")
    assert opened.pieces == []
    await opened.order("resume", 1)
    assert opened.pieces == [1, 2]
    assert opened.told == [("paused", 0, ""), ("resumed", 0, ""), ("started", 0, "")]
    assert opened.media.clears == 0


async def test_audio_that_a_slow_socket_holds_up_gives_way_to_a_newer_reply(opened: Open) -> None:
    await opened.say("One ", "two ", "three.")
    await opened.order("pause", 1)
    opened.media.may_send.clear()
    await opened.llm.send(Control(action="resume", generation=1))
    await opened.media.until_played(4)
    await opened.tts.send_audio_out(2, 0, b"\x09" * 1600, "Next.", last=True)
    async with asyncio.timeout(5):
        while opened.line._downlink.reply.generation != 2:
            await asyncio.sleep(0)
    opened.media.may_send.set()
    await opened.bus.settle()
    assert opened.pieces == [1, 2, 3, 1, 9]


async def test_audio_of_an_older_lease_is_dropped(opened: Open) -> None:
    gateway = CallChannel(opened.bus, "c1", "gateway", 1)
    await gateway.send(LeaseChanged(leased="tts", worker="tts-2", lease_epoch=2, state="granted"))
    await opened.bus.settle()
    await opened.tts.send_audio_out(1, 0, b"\x05" * 1600, "stale", last=True)
    await CallChannel(opened.bus, "c1", "tts", 2).send_audio_out(1, 0, b"\x06" * 1600, "new", last=True)
    await opened.media.until_played(1)
    assert [payload[:1] for payload, _ in opened.media.played] == [b"\x06"]


async def test_hang_up_waits_until_the_goodbye_was_heard(opened: Open) -> None:
    await opened.say("Goodbye!", generation=3)
    await opened.order("hangup", 3)
    assert opened.media.closed is None
    opened.media.mark(opened.media.played[0][1])
    assert await opened.end() == "agent_hung_up"
    assert opened.media.closed == "agent_hung_up"
    assert opened.settled == ["agent_hung_up"]


async def test_a_caller_who_interrupts_the_goodbye_keeps_the_line(opened: Open) -> None:
    await opened.say("Good", "bye!", generation=3)
    await opened.order("hangup", 3)
    await opened.order("clear", 4)
    await opened.say("Yes?", generation=5)
    opened.media.mark(opened.media.played[-1][1])
    assert (await opened.heard.wait_for(Playback, 4)).state == "finished"
    assert opened.media.closed is None


async def test_hang_up_without_a_reply_closes_at_once(opened: Open) -> None:
    await opened.order("clear", 4)
    await opened.order("hangup", 0)
    assert await opened.end() == "agent_hung_up"


@pytest.mark.parametrize("way", ["hang up", "drop", "cap"])
async def test_however_the_line_ends_the_words_heard_are_told(opened: Open, way: str) -> None:
    await opened.say("One ", "two ", "three.")
    opened.now += 0.25
    if way == "hang up":
        opened.media.hang_up()
    elif way == "drop":
        opened.media.drop()
    else:
        opened.line.close("max_duration")
    await opened.end()
    await opened.bus.settle()
    assert opened.told == [("started", 0, ""), ("cleared", 250, "One ")]


async def test_the_words_heard_are_told_before_the_call_ends(opened: Open) -> None:
    await opened.say("One.")
    opened.line.close("max_duration")
    await opened.heard.wait_for(CallEnded)
    assert [type(message) for message in opened.heard.messages[-2:]] == [Playback, CallEnded]


async def test_an_apology_cuts_the_reply_short(opened: Open) -> None:
    await opened.say("One ", "two.")
    opened.now += 0.25
    opened.line.fail("stage_lost")
    await opened.media.until_played(3)
    assert opened.media.clears == 1
    for _, mark in opened.media.played:
        opened.media.mark(mark)
    assert await opened.end() == "stage_lost"
    assert opened.told == [("started", 0, ""), ("cleared", 250, "One ")]


async def test_a_stage_that_fails_is_told_to_the_owner(opened: Open) -> None:
    await opened.llm.send(ErrorHappened(error="slow model", fatal=False))
    await opened.llm.send(ErrorHappened(error="socket lost", fatal=True))
    await opened.bus.settle()
    assert [(error.stage, error.epoch, error.error) for error in opened.failed] == [("llm", 1, "socket lost")]
    assert opened.media.played == []


async def test_a_line_that_cannot_go_on_apologises(opened: Open) -> None:
    opened.line.fail("stage_failed")
    await opened.media.until_played(1)
    assert opened.media.played == [(APOLOGY, "apology")]
    await opened.tts.send_audio_out(9, 0, b"\x05" * 1600, "too late", last=True)
    await opened.bus.settle()
    opened.media.mark("apology")
    assert await opened.end() == "stage_failed"
    assert opened.settled == ["stage_failed"]
    assert len(opened.media.played) == 1


async def test_a_newer_line_takes_over(opened: Open) -> None:
    await CallChannel(opened.bus, "c1", "gateway", 2).send(STARTED)
    assert await opened.end() == "taken_over"


async def test_a_socket_that_breaks_is_not_a_hang_up(opened: Open) -> None:
    opened.media.drop()
    assert await opened.end() == "carrier_lost"


async def test_keys_are_numbered_and_sent_again_to_a_new_dialogue(opened: Open) -> None:
    for now, digit in ((990.0, "1"), (995.0, "2"), (999.0, "3")):
        opened.now = now
        opened.media.press(digit)
        await opened.heard.wait_for(Digit, int(digit))
    await opened.line.uplink.press_again(since=997.0)
    await opened.bus.settle()
    keys = [message for message in opened.heard.messages if isinstance(message, Digit)]
    assert [(key.digit, key.number) for key in keys] == [("1", 1), ("2", 2), ("3", 3), ("2", 2), ("3", 3)]


async def test_changed_turns_are_told_to_the_owner(opened: Open) -> None:
    await opened.llm.send(TurnsChanged(turns={"endpointing_ms": 300}))
    await opened.bus.settle()
    assert [message.turns for message in opened.turns] == [{"endpointing_ms": 300}]


async def test_a_takeover_tells_what_the_line_knows_of_the_reply(opened: Open) -> None:
    await opened.tts.send_audio_out(1, 0, b"\x05" * 1600, "One ", last=False, turn_id=7)
    await opened.tts.send_audio_out(1, 200, b"\x05" * 1600, "two ", last=False, turn_id=7)
    await opened.bus.settle()
    opened.media.mark(opened.media.played[0][1])
    await opened.heard.wait_for(Playback, 2)
    await opened.line.tell_taken("tts", "tts-2", 2, 998.5)
    taken = await opened.heard.wait_for(StageTaken)
    assert (taken.leased, taken.worker, taken.lease_epoch, taken.since) == ("tts", "tts-2", 2, 998.5)
    assert taken.reply == ReplyOnLine(
        generation=1, turn_id=7, started=True, heard_ms=200, heard="One ", received="One two "
    )


async def test_before_any_reply_there_is_nothing_to_take_up(opened: Open) -> None:
    await opened.line.tell_taken("llm", "llm-2", 2, 998.5)
    assert (await opened.heard.wait_for(StageTaken)).reply == ReplyOnLine()


async def test_what_an_older_voice_says_is_dropped_at_once(opened: Open) -> None:
    opened.line.silence("tts", 2)
    await opened.say("stale")
    assert opened.media.played == []


async def test_a_caller_is_asked_for_patience_once_and_when_the_agent_is_silent(opened: Open) -> None:
    await opened.say("One.")
    asking = [asyncio.create_task(opened.line.ask_for_patience()) for _ in range(2)]
    await opened.bus.settle()
    assert len(opened.media.played) == 1
    opened.media.mark(opened.media.played[0][1])
    await asyncio.wait_for(asyncio.gather(*asking), 5)
    assert opened.media.played[1:] == [(MOMENT, "announcement")]


async def test_an_announcement_is_not_counted_as_heard(opened: Open) -> None:
    await opened.line.ask_for_patience()
    await opened.say("One ", "two.")
    opened.now += 0.3
    await opened.order("clear", 2)
    assert opened.told == [("started", 0, ""), ("cleared", 200, "One ")]


@pytest.mark.parametrize(
    ("stage", "before", "under_way", "over"),
    [("llm", True, False, True), ("tts", True, False, True), ("speech", True, True, True), ("stt", True, True, True)],
)
async def test_a_moment_is_quiet_when_nobody_would_notice(
    opened: Open, stage: str, before: bool, under_way: bool, over: bool
) -> None:
    assert opened.line.quiet(stage) == before
    await opened.tts.send_audio_out(1, 0, b"\x05" * 1600, "One ", last=False)
    await opened.bus.settle()
    assert opened.line.quiet(stage) == under_way
    await opened.tts.send_audio_out(1, 200, b"\x05" * 1600, "two.", last=True)
    await opened.bus.settle()
    opened.media.mark(opened.media.played[-1][1])
    await opened.heard.wait_for(Playback, 2)
    assert opened.line.quiet(stage) == over
