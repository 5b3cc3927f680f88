"""A session that takes a call over, whose line is taken over, and whose llm is. Real audio, real VAD."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.stt import session
from services.stt.history import Speech
from services.stt.provider import Hypothesis
from shared.audio import FRAME_BYTES, FRAME_MS, bytes_of
from shared.channel import CallChannel
from shared.espeak import speak, trim
from shared.messages import (
    ReplyOnLine,
    SpeechFinal,
    SpeechPartial,
    SpeechStarted,
    SpeechStopped,
    StageTaken,
)
from tests.stt_booth import CALL, Booth, open_booth, silence

SPEECH = trim(speak("what are your opening hours").mulaw, keep_ms=0)
SPEECH_MS = len(SPEECH) // 8


@pytest_asyncio.fixture
async def booth() -> AsyncIterator[Booth]:
    async with open_booth() as made:
        yield made


def _until(told: list[str | bytes], mark: str) -> list[str | bytes]:
    return told[: told.index(mark)]


async def test_what_was_being_said_as_the_line_broke_is_over_and_told(booth: Booth) -> None:
    await booth.feed(silence(500) + SPEECH)
    broke_at = booth.now
    booth.line = CallChannel(booth.bus, CALL, "gateway", 2)
    booth.seq, booth.at_ms = 0, 0
    # The timeline of the line may be further than that of the one before, when frames were lost.
    await booth.feed(silence(3000))
    assert booth.transcriber.marks == ["begin", "finish"]
    told = booth.transcriber.told
    fed_before = sum(len(item) for item in _until(told, "finish") if isinstance(item, bytes))
    assert fed_before == len(silence(500) + SPEECH) // FRAME_BYTES * FRAME_BYTES
    stopped = await booth.heard.wait_for(SpeechStopped)
    assert abs(stopped.t_ms - (500 + SPEECH_MS)) <= 80
    assert stopped.ended_at <= broke_at
    await booth.understand(Hypothesis("what are your", True, True))
    await booth.feed(SPEECH + silence(400))
    await booth.understand(Hypothesis("hours", True, True))
    finals = [message for message in booth.heard.messages if isinstance(message, SpeechFinal)]
    assert [(final.text, final.complete, final.line) for final in finals] == [
        ("what are your", True, 1),
        ("hours", True, 2),
    ]
    ends = [message.t_ms for message in booth.heard.messages if isinstance(message, SpeechStopped)]
    assert [final.until_ms for final in finals] == ends
    assert [m.line for m in booth.heard.messages if isinstance(m, SpeechStarted)] == [1, 2]


async def test_text_that_was_open_as_the_line_broke_ends_where_the_audio_ended(booth: Booth) -> None:
    await booth.feed(silence(500))
    await booth.understand(Hypothesis("psst", final=False))
    booth.line = CallChannel(booth.bus, CALL, "gateway", 2)
    booth.seq, booth.at_ms = 0, 0
    await booth.feed(silence(100))
    await booth.understand(Hypothesis("psst", True, True))
    final = await booth.heard.wait_for(SpeechFinal)
    assert (final.until_ms, final.line, final.complete) == (500, 1, True)


async def test_what_was_said_while_nobody_listened_is_told_in_its_own_time() -> None:
    async with open_booth(line=3) as booth:
        booth.now = 1000 + 60.0
        kept = silence(1000) + SPEECH + silence(6000)
        from_ms = 60_000 - len(kept) // 8 // FRAME_MS * FRAME_MS
        await booth.replay(kept, from_ms)
        assert booth.told == [("started", 1), ("sustained", 1), ("sustained", 1), ("stopped", 1)]
        started, stopped = await booth.heard.wait_for(SpeechStarted), await booth.heard.wait_for(SpeechStopped)
        assert (started.line, abs(started.t_ms - (from_ms + 1000)) <= 80) == (3, True)
        assert started.began_at == pytest.approx(1000 + started.t_ms / 1000, abs=0.021)
        assert stopped.ended_at == pytest.approx(1000 + stopped.t_ms / 1000, abs=0.021)
        assert stopped.ended_at < booth.now - 5.9
        assert len(booth.transcriber.audio) >= len(kept) - FRAME_BYTES
        # Live from here on.
        at_ms = booth.at_ms
        await booth.feed(silence(500) + SPEECH + silence(400))
        started = await booth.heard.wait_for(SpeechStarted, 2)
        assert abs(started.t_ms - (at_ms + 500)) <= 80
        assert started.began_at == pytest.approx(1000 + started.t_ms / 1000, abs=0.021)


async def test_half_a_minute_that_nobody_heard_waits_for_the_provider() -> None:
    async with open_booth(line=1) as booth:
        booth.now = 1000 + 30.0
        booth.transcriber.may_feed.clear()
        await booth.replay(silence(29_000), 1000)
        await booth.feed(silence(500))
        booth.transcriber.may_feed.set()
        await booth.settle()
        assert len(booth.transcriber.audio) == bytes_of(29_500)


def taken(stage: str, since: float) -> StageTaken:
    return StageTaken(leased=stage, worker=f"{stage}-2", lease_epoch=2, since=since, reply=ReplyOnLine())


async def test_another_llm_is_told_again_what_it_may_not_have_heard(booth: Booth) -> None:
    for text in ("hello", "a table"):
        await booth.feed(silence(500) + SPEECH + silence(400))
        await booth.understand(Hypothesis(text, True, True))
        await booth.feed(silence(4000))
    await booth.feed(SPEECH)
    await booth.understand(Hypothesis("for", final=False), Hypothesis("for two", final=False))
    told = len(booth.heard.messages)
    booth.now += 1
    second_completed_at = (await booth.heard.wait_for(SpeechFinal, 2)).at
    await booth.line.send(taken("tts", since=0.0))
    await booth.settle()
    assert len(booth.heard.messages) == told + 1
    await booth.line.send(taken("llm", since=second_completed_at + 2.9))
    await booth.settle()
    again = booth.heard.messages[told + 2 :]
    kinds = [(m.suffix.split(".")[1], m.utterance) for m in again if isinstance(m, Speech)]
    assert kinds == [
        *[(kind, 2) for kind in ("started", "sustained", "sustained", "stopped", "final")],
        *[(kind, 3) for kind in ("started", "sustained", "sustained", "partial")],
    ]
    assert {message.at for message in again} == {booth.now}
    assert [m.text for m in again if isinstance(m, SpeechPartial)] == ["for two"]


async def test_words_with_a_hole_in_them_wait_for_another_session(
    booth: Booth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_DOUBT_S", 3600)
    await booth.feed(silence(500) + SPEECH)
    # The bus has lost half a second.
    booth.seq, booth.at_ms = booth.seq + 25, booth.at_ms + 500
    await booth.feed(silence(1000))
    await booth.understand(Hypothesis("what are hours", True, True))
    assert not any(isinstance(message, SpeechFinal) for message in booth.heard.messages)


async def test_words_with_a_hole_are_told_when_nobody_else_hears_the_caller(
    booth: Booth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_DOUBT_S", 0.01)
    await booth.feed(silence(500) + SPEECH)
    booth.seq, booth.at_ms = booth.seq + 25, booth.at_ms + 500
    await booth.feed(silence(1000))
    await booth.understand(Hypothesis("what are hours", True, True))
    assert (await booth.heard.wait_for(SpeechFinal)).text == "what are hours"


async def test_words_that_take_long_are_waited_for(booth: Booth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_PATIENCE_EVERY_S", 0)
    await booth.feed(silence(500) + SPEECH)
    await booth.understand(Hypothesis("what are", final=False))
    await booth.feed(silence(400))
    partials = [await booth.heard.wait_for(SpeechPartial, number) for number in range(1, 12)]
    assert {partial.text for partial in partials} == {"what are"}
    await booth.settle()
    assert sum(isinstance(message, SpeechPartial) for message in booth.heard.messages) == 11
