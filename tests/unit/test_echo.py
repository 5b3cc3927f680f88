"""The echo: what the caller says comes back."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.speech.stage import SpeechStage
from shared.call import Call
from shared.channel import CallChannel
from shared.memory_bus import MemoryBus
from shared.messages import AudioOut
from shared.messages.audio import unpack_out
from shared.settings import Settings
from shared.stage import CannotServe
from tests.fakes import profile

CALL = "CA1"


def frame(seq: int) -> bytes:
    return bytes([seq % 256]) * 160


class Line:
    """A caller whose words are echoed."""

    def __init__(self, line: int = 0) -> None:
        self.bus = MemoryBus()
        self.call = Call(profile("echo"), CallChannel(self.bus, CALL, "speech", 1), line)
        self.caller = CallChannel(self.bus, CALL, "gateway", line or 1)
        self.echoes: asyncio.Queue[AudioOut] = asyncio.Queue()

    async def open(self) -> None:
        await SpeechStage(Settings()).open(self.call)
        await self.bus.subscribe(f"call.{CALL}.audio.out", self._hear)

    async def _hear(self, subject: str, payload: bytes) -> None:
        self.echoes.put_nowait(unpack_out(payload))

    async def speak(self, *seqs: int) -> None:
        for seq in seqs:
            await self.caller.send_audio_in(seq, seq * 20, frame(seq))

    async def hear(self, count: int) -> list[AudioOut]:
        async with asyncio.timeout(5):
            return [await self.echoes.get() for _ in range(count)]


@pytest_asyncio.fixture
async def line() -> AsyncIterator[Line]:
    made = Line()
    await made.open()
    yield made
    await made.call.close()
    await made.bus.close()


async def test_every_byte_comes_back_in_order(line: Line) -> None:
    await line.speak(*range(50))
    pieces = await line.hear(10)
    assert b"".join(piece.payload for piece in pieces) == b"".join(frame(seq) for seq in range(50))


async def test_pieces_of_100_ms_belong_to_one_reply_that_grows(line: Line) -> None:
    await line.speak(*range(15))
    pieces = await line.hear(3)
    assert [(piece.generation, piece.offset_ms, piece.text, piece.last) for piece in pieces] == [
        (1, 0, "", False),
        (1, 100, "", False),
        (1, 200, "", False),
    ]


async def test_a_lost_frame_is_not_waited_for_and_not_filled_in(line: Line) -> None:
    await line.speak(0, 1, 2, 13, 14)
    (piece,) = await line.hear(1)
    assert piece.payload == b"".join(frame(seq) for seq in (0, 1, 2, 13, 14))
    await line.speak(15, 16, 17, 18, 19)
    (piece,) = await line.hear(1)
    assert piece.offset_ms == 100


async def test_a_frame_that_comes_again_is_echoed_once(line: Line) -> None:
    await line.speak(0, 1, 2, 1, 2, 3, 4)
    (piece,) = await line.hear(1)
    assert piece.payload == b"".join(frame(seq) for seq in range(5))


async def test_a_new_line_of_the_same_call_is_echoed_from_its_first_frame(line: Line) -> None:
    await line.speak(*range(5))
    line.caller.epoch = 2
    await line.speak(*range(5))
    assert [piece.offset_ms for piece in await line.hear(2)] == [0, 100]


async def test_what_was_kept_while_nobody_listened_is_echoed_and_the_line_goes_on() -> None:
    line = Line(line=2)
    await line.open()
    await line.speak(*range(1000, 1500))
    # The end of the burst once more, then live.
    await line.speak(*range(1490, 1510))
    pieces = await line.hear(102)
    assert b"".join(piece.payload for piece in pieces) == b"".join(frame(seq) for seq in range(1000, 1510))
    assert [piece.offset_ms for piece in pieces] == list(range(0, 10_200, 100))
    await line.call.close()
    await line.bus.close()


async def test_another_pipeline_is_refused_with_the_field_to_set() -> None:
    call = Call(profile("bella"), CallChannel(MemoryBus(), CALL, "speech", 1))
    with pytest.raises(CannotServe, match=r"'cascade'.*pipeline.*echo"):
        await SpeechStage(Settings()).open(call)
