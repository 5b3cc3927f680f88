"""The line: audio between a carrier and the call's subjects."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from services.gateway.line import Line
from shared.channel import CallChannel
from shared.memory_bus import MemoryBus
from shared.messages import CallStarted, Control, Digit, ErrorHappened, LeaseChanged, Playback
from shared.messages.audio import unpack_in
from tests.fakes import FakeMedia, Heard

APOLOGY = b"\x10" * 80
STARTED = CallStarted(gateway="gw-1", caller="+1", dialled="+2", agent="bella")


class Open:
    """An open line with a voice that a test moves."""

    def __init__(self, bus: MemoryBus, heard: Heard) -> None:
        self.bus = bus
        self.heard = heard
        self.media = FakeMedia()
        self.settled: list[str] = []
        self.line = Line(self.media, CallChannel(bus, "c1", "gateway", 1), "tts", APOLOGY, self.settle)
        self.tts = CallChannel(bus, "c1", "tts", 1)
        self.llm = CallChannel(bus, "c1", "llm", 1)
        self.running: asyncio.Task[str]

    async def settle(self, end: str) -> None:
        assert self.media.closed is None
        self.settled.append(end)

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
    opened.media.say(0, b"\x01" * 160)
    opened.media.say(20, b"\x02" * 160)
    opened.media.hang_up()
    assert await opened.end() == "caller_hung_up"
    frames = [unpack_in(body) for subject, body in opened.bus.published if subject == "call.c1.audio.in"]
    assert [(f.epoch, f.seq, f.timestamp_ms, f.payload[:1]) for f in frames] == [
        (1, 0, 0, b"\x01"),
        (1, 1, 20, b"\x02"),
    ]


async def test_a_piece_is_played_with_a_mark_and_reported_when_heard(opened: Open) -> None:
    await opened.tts.send_audio_out(1, 0, b"\x05" * 1600, "Hello.", last=True)
    await opened.media.until_played(1)
    payload, mark = opened.media.played[0]
    assert payload == b"\x05" * 1600
    opened.media.mark(mark)
    finished = await opened.heard.wait_for(Playback, 2)
    assert (finished.state, finished.heard_ms, finished.heard) == ("finished", 200, "Hello.")


async def test_clear_reaches_the_carrier(opened: Open) -> None:
    await opened.tts.send_audio_out(1, 0, b"\x05" * 1600, "Hello.", last=True)
    await opened.media.until_played(1)
    await opened.llm.send(Control(action="clear", generation=2))
    cleared = await opened.heard.wait_for(Playback, 2)
    assert (cleared.state, cleared.heard) == ("cleared", "")
    assert opened.media.clears == 1


async def test_audio_of_an_older_lease_is_dropped(opened: Open) -> None:
    gateway = CallChannel(opened.bus, "c1", "gateway", 1)
    await gateway.send(LeaseChanged(leased="tts", worker="tts-2", lease_epoch=2, state="granted"))
    await opened.bus.settle()
    await opened.tts.send_audio_out(1, 0, b"\x05" * 1600, "stale", last=True)
    await CallChannel(opened.bus, "c1", "tts", 2).send_audio_out(1, 0, b"\x06" * 1600, "new", last=True)
    await opened.media.until_played(1)
    assert [payload[:1] for payload, _ in opened.media.played] == [b"\x06"]


async def test_hang_up_waits_until_the_goodbye_was_heard(opened: Open) -> None:
    await opened.tts.send_audio_out(3, 0, b"\x05" * 1600, "Goodbye!", last=True)
    await opened.media.until_played(1)
    await opened.llm.send(Control(action="hangup", generation=3))
    await opened.bus.settle()
    assert opened.media.closed is None
    opened.media.mark(opened.media.played[0][1])
    assert await opened.end() == "agent_hung_up"
    assert opened.media.closed == "agent_hung_up"
    assert opened.settled == ["agent_hung_up"]


async def test_a_failed_stage_is_apologised_for(opened: Open) -> None:
    await opened.llm.send(ErrorHappened(error="socket lost", fatal=True))
    await opened.media.until_played(1)
    assert opened.media.played == [(APOLOGY, "apology")]
    await opened.tts.send_audio_out(9, 0, b"\x05" * 1600, "too late", last=True)
    await opened.bus.settle()
    opened.media.mark("apology")
    assert await opened.end() == "stage_failed"
    assert opened.settled == ["stage_failed"]
    assert len(opened.media.played) == 1


async def test_an_error_that_is_not_fatal_changes_nothing(opened: Open) -> None:
    await opened.llm.send(ErrorHappened(error="slow model", fatal=False))
    await opened.bus.settle()
    assert opened.media.played == []
    opened.media.hang_up()
    assert await opened.end() == "caller_hung_up"


async def test_a_newer_line_takes_over(opened: Open) -> None:
    await CallChannel(opened.bus, "c1", "gateway", 2).send(STARTED)
    assert await opened.end() == "taken_over"


async def test_a_socket_that_breaks_is_not_a_hang_up(opened: Open) -> None:
    opened.media.drop()
    assert await opened.end() == "carrier_lost"


async def test_keys_are_passed_on(opened: Open) -> None:
    opened.media.press("7")
    assert (await opened.heard.wait_for(Digit)).digit == "7"
