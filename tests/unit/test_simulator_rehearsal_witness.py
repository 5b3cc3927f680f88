"""Messages of a call, each asked about once."""

import pytest

from shared import subjects
from shared.audio import SILENCE
from shared.memory_bus import MemoryBus
from shared.messages import CallEnded, Message, TranscriptAgent, TranscriptCaller
from shared.messages.audio import pack
from simulator.playback import Playback
from simulator.rehearsal.witness import SUBJECTS, Witness
from simulator.tap import Tap
from tests.simulator_reply import audio, pieces, transcript

CALL = "sim-1"


class Present:
    """A phone of which only the track is needed; a second of silence, then what was played."""

    def __init__(self) -> None:
        self.now = 0.0
        self.playback = Playback(0.0)

    def clock(self) -> float:
        return self.now


class Call:
    """A tapped call."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.phone = Present()
        self.tap = Tap(clock=self.phone.clock)
        self.witness = Witness(self.tap, self.phone)

    async def send(self, *messages: Message) -> None:
        for message in messages:
            await self.bus.publish(subjects.call(CALL, message.suffix), message.model_dump_json().encode())
        await self.bus.settle()


@pytest.fixture
async def call() -> Call:
    made = Call()
    await made.tap.open(made.bus, CALL, SUBJECTS)
    return made


def caller(text: str) -> TranscriptCaller:
    return TranscriptCaller(turn_id=1, text=text)


async def test_replies_are_handed_out_one_after_the_other(call: Call) -> None:
    await call.send(transcript("one"), caller("x"), transcript("two"))
    texts = [await call.witness.next(TranscriptAgent, 1) for _ in range(2)]
    assert [message and message.text for message in texts] == ["one", "two"]
    assert await call.witness.next(TranscriptAgent, 0.0) is None


async def test_what_came_before_an_action_is_forgotten(call: Call) -> None:
    await call.send(transcript("old"), caller("old"))
    assert call.witness.forget() == []
    await call.send(transcript("new"))
    message = await call.witness.next(TranscriptAgent, 1)
    assert message is not None and message.text == "new"


async def test_a_reply_that_nobody_expected_is_told_when_others_were(call: Call) -> None:
    await call.send(transcript("one"), transcript("again"), caller("first"), caller("second"))
    await call.witness.next(TranscriptAgent, 1)
    assert call.witness.forget() == ["the agent said 'again' too"]
    assert call.witness.forget() == []
    await call.send(caller("a"), caller("b"))
    await call.witness.next(TranscriptCaller, 1)
    assert call.witness.forget() == ["'b' was understood too"]


async def test_nothing_is_waited_for_when_the_call_has_ended(call: Call) -> None:
    await call.send(transcript("goodbye"), CallEnded(reason="agent_hung_up", duration_ms=5))
    assert await call.witness.next(TranscriptAgent, 60) is not None
    assert await call.witness.next(TranscriptAgent, 60) is None
    ended = await call.witness.ended(60)
    assert ended is not None and ended.reason == "agent_hung_up"


async def test_a_reply_is_heard_where_it_was_played(call: Call) -> None:
    call.phone.now = 5.0
    for generation in (1, 2):
        for piece in pieces("Where are you located", generation):
            await call.bus.publish(subjects.call(CALL, "audio.out"), pack(piece))
        await call.bus.settle()
        call.phone.playback.append(call.phone.now, audio("Where are you located") + SILENCE * 8000)
        call.phone.now = call.phone.playback.ends
    assert call.witness.hearing(1).began == pytest.approx(5.0, abs=0.02)
    second = call.witness.hearing(2)
    assert second.complete
    assert second.began is not None and second.began > 6.0
    assert call.witness.hearing(3).began is None


async def test_what_is_no_frame_is_dropped(call: Call) -> None:
    await call.bus.publish(subjects.call(CALL, "audio.out"), b"noise")
    await call.bus.settle()
    assert call.tap.pieces == []
