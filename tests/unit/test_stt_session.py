"""One call's recognition: order, numbering, times, failures and the bill. Real audio, real VAD, scripted provider."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.stt.provider import Hypothesis
from services.stt.session import SttSession
from services.stt.vad import Silero, VadBatcher
from shared.audio import FRAME_BYTES, FRAME_MS, SILENCE, bytes_of
from shared.bus import Disconnected
from shared.call import Call
from shared.channel import CallChannel
from shared.espeak import speak, trim
from shared.memory_bus import MemoryBus
from shared.messages import (
    ErrorHappened,
    SpeechFinal,
    SpeechPartial,
    SpeechStarted,
    SpeechStopped,
    UsageCounted,
    Word,
)
from tests.fakes import Heard, profile

CALL = "CA1"
SPEECH = trim(speak("what are your opening hours").mulaw, keep_ms=0)
SPEECH_MS = len(SPEECH) // 8


class ScriptedTranscriber:
    """Notes what it is told; the test says what it understands."""

    model = "scripted-1"

    def __init__(self) -> None:
        self.told: list[str | bytes] = []
        self.may_feed = asyncio.Event()
        self.may_feed.set()
        self.error: Exception | None = None
        self.closed = False

    async def feed(self, mulaw: bytes) -> None:
        self.told.append(mulaw)
        await self.may_feed.wait()
        if self.error is not None:
            raise self.error

    async def begin(self) -> None:
        self.told.append("begin")

    async def finish(self) -> None:
        self.told.append("finish")

    async def close(self) -> None:
        self.closed = True

    @property
    def marks(self) -> list[str]:
        return [item for item in self.told if isinstance(item, str)]

    @property
    def audio(self) -> bytes:
        return b"".join(item for item in self.told if isinstance(item, bytes))


class Booth:
    """A session at work, and the line that it listens to. Its clock is 1000 s ahead of the caller's timeline."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.call = Call(profile(), CallChannel(self.bus, CALL, "stt", 1))
        self.line = CallChannel(self.bus, CALL, "gateway", 1)
        self.transcriber = ScriptedTranscriber()
        self.vad = VadBatcher(Silero(), lambda work: None)
        self.now = 1000.0
        self.session = SttSession(self.call, "scripted", self.vad, clock=lambda: self.now)
        self.heard: Heard
        self.seq = 0
        self.at_ms = 0

    async def start(self) -> None:
        self.heard = await Heard.on(self.bus, CALL)
        await self.session.begin(self.transcriber)

    async def feed(self, mulaw: bytes) -> None:
        """Send whole frames, as time goes by with them."""
        for start in range(0, len(mulaw) - FRAME_BYTES + 1, FRAME_BYTES):
            self.now = 1000 + self.at_ms / 1000
            await self.line.send_audio_in(self.seq, self.at_ms, mulaw[start : start + FRAME_BYTES])
            await self.bus.settle()
            self.seq += 1
            self.at_ms += FRAME_MS
            self.vad.run()
        await self.settle()

    async def settle(self) -> None:
        """Let the tasks of the session do what they can."""
        for _ in range(1000):
            await asyncio.sleep(0)
        await self.bus.settle()

    async def understand(self, *hypotheses: Hypothesis) -> None:
        for hypothesis in hypotheses:
            self.session.hear(hypothesis)
        await self.settle()

    @property
    def told(self) -> list[tuple[str, int]]:
        speech = (SpeechStarted, SpeechStopped, SpeechPartial, SpeechFinal)
        return [(m.suffix.split(".")[1], m.utterance) for m in self.heard.messages if isinstance(m, speech)]


def silence(ms: int) -> bytes:
    return SILENCE * bytes_of(ms)


@pytest_asyncio.fixture
async def booth() -> AsyncIterator[Booth]:
    made = Booth()
    await made.start()
    yield made
    await made.session.close()
    await made.call.close()


async def test_an_utterance_is_told_in_order(booth: Booth) -> None:
    await booth.feed(silence(500) + SPEECH)
    await booth.understand(Hypothesis("what are", final=False))
    await booth.feed(silence(400))
    words = (Word(text="what", start_ms=520, end_ms=640, confidence=0.9),)
    await booth.understand(Hypothesis("what are your opening hours", True, True, 0.8, words))
    assert booth.told == [("started", 1), ("partial", 1), ("stopped", 1), ("final", 1)]
    final = await booth.heard.wait_for(SpeechFinal)
    assert (final.text, final.complete, final.confidence) == ("what are your opening hours", True, 0.8)
    assert final.words == words
    assert (final.stage, final.epoch) == ("stt", 1)


async def test_the_times_are_those_of_the_sound(booth: Booth) -> None:
    await booth.feed(silence(500) + SPEECH + silence(400))
    started = await booth.heard.wait_for(SpeechStarted)
    stopped = await booth.heard.wait_for(SpeechStopped)
    assert abs(started.t_ms - 500) <= 80
    assert abs(stopped.t_ms - (500 + SPEECH_MS)) <= 80
    # The frame with the last sample came at 1000 s plus where it begins.
    assert 0 <= stopped.t_ms / 1000 - (stopped.ended_at - 1000) <= 0.021


async def test_the_provider_hears_every_frame_and_where_utterances_are(booth: Booth) -> None:
    audio = silence(500) + SPEECH + silence(400)
    await booth.feed(audio)
    assert booth.transcriber.audio == audio[: len(booth.transcriber.audio)]
    assert len(audio) - len(booth.transcriber.audio) < FRAME_BYTES
    assert booth.transcriber.marks == ["begin", "finish"]
    fed_before = b"".join(item for item in _until(booth.transcriber.told, "begin") if isinstance(item, bytes))
    assert 500 < len(fed_before) / 8 < 750


def _until(told: list[str | bytes], mark: str) -> list[str | bytes]:
    return told[: told.index(mark)]


async def test_a_burst_of_audio_has_its_marks_where_they_belong(booth: Booth) -> None:
    audio = silence(500) + SPEECH + silence(400)
    for start in range(0, len(audio) - FRAME_BYTES + 1, FRAME_BYTES):
        await booth.line.send_audio_in(start // FRAME_BYTES, start // 8, audio[start : start + FRAME_BYTES])
    await booth.bus.settle()
    await booth.settle()
    told = booth.transcriber.told
    begin, finish = told.index("begin") * FRAME_MS, told.index("finish") * FRAME_MS
    assert 560 < begin < 500 + 300
    assert 120 < finish - (500 + SPEECH_MS) < 400


async def test_lost_frames_do_not_shift_the_timeline(booth: Booth) -> None:
    await booth.feed(silence(500))
    booth.at_ms += 3000
    booth.seq += 150
    await booth.feed(silence(500) + SPEECH + silence(400))
    words = (Word(text="what", start_ms=1010, end_ms=1200),)
    await booth.understand(Hypothesis("what", True, True, words=words))
    assert abs((await booth.heard.wait_for(SpeechStarted)).t_ms - 4000) <= 80
    assert abs((await booth.heard.wait_for(SpeechStopped)).t_ms - (4000 + SPEECH_MS)) <= 80
    assert (await booth.heard.wait_for(SpeechFinal)).words[0].start_ms == 4010


async def test_frames_that_come_again_are_not_heard_again(booth: Booth) -> None:
    await booth.feed(silence(200))
    booth.seq, booth.at_ms = 0, 0
    await booth.feed(silence(300))
    assert len(booth.transcriber.audio) == bytes_of(300)


async def test_the_line_of_another_gateway_begins_anew(booth: Booth) -> None:
    await booth.feed(silence(500) + SPEECH)
    booth.line = CallChannel(booth.bus, CALL, "gateway", 2)
    booth.seq, booth.at_ms = 0, 0
    await booth.feed(silence(500) + SPEECH + silence(400))
    assert booth.told == [("started", 1), ("stopped", 1), ("started", 2), ("stopped", 2)]
    assert abs((await booth.heard.wait_for(SpeechStarted, 2)).t_ms - 500) <= 80


async def test_a_late_transcript_belongs_to_the_utterance_that_waits_for_it(booth: Booth) -> None:
    await booth.feed(silence(300) + SPEECH + silence(400) + SPEECH + silence(400))
    for text in ("first", "", "second"):
        await booth.understand(Hypothesis(text, True, complete=text != "first"))
    finals = [(m.utterance, m.text, m.complete) for m in booth.heard.messages if isinstance(m, SpeechFinal)]
    assert finals == [(1, "first", False), (1, "", True), (2, "second", True)]


async def test_text_that_the_vad_missed_makes_an_utterance_that_ends(booth: Booth) -> None:
    await booth.feed(silence(500))
    await booth.understand(Hypothesis("psst", final=False))
    await booth.feed(silence(300))
    assert booth.transcriber.marks == []
    await booth.feed(silence(500))
    assert booth.transcriber.marks == ["finish"]
    await booth.understand(Hypothesis("psst", True, complete=True))
    assert booth.told == [("started", 1), ("partial", 1), ("stopped", 1), ("final", 1)]


async def test_a_slow_provider_loses_the_oldest_audio_and_no_speech_event(booth: Booth) -> None:
    booth.transcriber.may_feed.clear()
    audio = silence(2000) + SPEECH + silence(2600)
    await booth.feed(audio)
    assert booth.told == [("started", 1), ("stopped", 1)]
    booth.transcriber.may_feed.set()
    await booth.settle()
    assert booth.transcriber.marks == ["begin", "finish"]
    # The frame that it was busy with, and the newest three seconds.
    assert len(booth.transcriber.audio) == FRAME_BYTES + bytes_of(3000)


async def test_a_provider_that_fails_ends_the_session_once(booth: Booth) -> None:
    gone = asyncio.Event()
    booth.call.failed = gone.set
    booth.transcriber.error = ConnectionError("socket lost")
    await booth.feed(silence(100))
    await asyncio.wait_for(gone.wait(), 5)
    errors = [message for message in booth.heard.messages if isinstance(message, ErrorHappened)]
    assert [(error.error, error.fatal) for error in errors] == [("ConnectionError: socket lost", True)]


async def test_a_broker_that_is_away_does_not_end_the_session(booth: Booth, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(message: object) -> None:
        raise Disconnected("away")

    with monkeypatch.context() as away:
        away.setattr(booth.call.channel, "send", refuse)
        await booth.understand(Hypothesis("lost", final=False))
    await booth.understand(Hypothesis("heard", final=False))
    assert [m.text for m in booth.heard.messages if isinstance(m, SpeechPartial)] == ["heard"]


async def test_the_seconds_are_billed_and_the_provider_is_closed(booth: Booth) -> None:
    await booth.feed(silence(1240))
    await booth.session.close()
    await booth.bus.settle()
    usage = await booth.heard.wait_for(UsageCounted)
    assert (usage.provider, usage.model, usage.amounts) == ("scripted", "scripted-1", {"audio_s": 1.24})
    assert booth.transcriber.closed


async def test_a_call_without_audio_is_not_billed(booth: Booth) -> None:
    await booth.session.close()
    await booth.settle()
    assert not any(isinstance(message, UsageCounted) for message in booth.heard.messages)
    assert booth.transcriber.closed
