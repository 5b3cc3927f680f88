"""One call's recognition: order, numbering, times, failures and the bill. Real audio, real VAD, scripted provider."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio
import structlog.testing

from services.stt.detector import SpeechDetector
from services.stt.echo import EchoGuard
from services.stt.provider import Hypothesis
from shared.audio import FRAME_BYTES, FRAME_MS, bytes_of
from shared.bus import Disconnected
from shared.channel import CallChannel
from shared.espeak import speak, trim
from shared.messages import (
    ErrorHappened,
    SpeechFinal,
    SpeechPartial,
    SpeechStarted,
    SpeechStopped,
    SpeechSustained,
    TurnsChanged,
    UsageCounted,
    Word,
)
from shared.pcm import decode
from tests.stt_booth import CALL, Booth, mixed, noisy, open_booth, silence

SPEECH = trim(speak("what are your opening hours").mulaw, keep_ms=0)
SPEECH_MS = len(SPEECH) // 8


@pytest_asyncio.fixture
async def booth() -> AsyncIterator[Booth]:
    async with open_booth() as made:
        yield made


async def test_an_utterance_is_told_in_order(booth: Booth) -> None:
    await booth.feed(silence(500) + SPEECH)
    await booth.understand(Hypothesis("what are", final=False))
    await booth.feed(silence(400))
    words = (Word(text="what", start_ms=520, end_ms=640, confidence=0.9),)
    await booth.understand(Hypothesis("what are your opening hours", True, True, 0.8, words))
    kinds = ["started", "sustained", "sustained", "partial", "stopped", "final"]
    assert booth.told == [(kind, 1) for kind in kinds]
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
    # The frame with a sample came at 1000 s plus where the frame begins.
    assert 0 <= started.t_ms / 1000 - (started.began_at - 1000) < 0.02
    assert 0 < stopped.t_ms / 1000 - (stopped.ended_at - 1000) <= 0.021


async def test_a_voice_that_lasts_is_told_at_once_at_each_length_that_means_something(booth: Booth) -> None:
    await booth.feed(silence(500) + SPEECH + silence(400))
    started, sustained = await booth.heard.wait_for(SpeechStarted), await booth.heard.wait_for(SpeechSustained)
    assert (sustained.utterance, sustained.speech_ms) == (1, 256)
    assert 256 <= sustained.t_ms - started.t_ms <= 256 + 96
    # Sent before the next window of 32 ms was complete.
    assert 0 <= sustained.at - sustained.reached_at < 0.032
    assert (await booth.heard.wait_for(SpeechSustained, 2)).speech_ms == 512
    assert [kind for kind, _ in booth.told] == ["started", "sustained", "sustained", "stopped"]


async def test_a_short_sound_is_not_sustained(booth: Booth) -> None:
    await booth.feed(silence(500) + SPEECH[: bytes_of(200)] + silence(400))
    assert [kind for kind, _ in booth.told] == ["started", "stopped"]


async def test_the_pauses_in_an_utterance_are_no_voice(booth: Booth) -> None:
    part = SPEECH[: bytes_of(200)]
    await booth.feed(silence(500) + part + silence(120) + part + silence(400))
    started, sustained = await booth.heard.wait_for(SpeechStarted), await booth.heard.wait_for(SpeechSustained)
    assert [kind for kind, _ in booth.told] == ["started", "sustained", "stopped"]
    assert sustained.t_ms - started.t_ms > sustained.speech_ms


async def test_turn_taking_changes_during_the_call(booth: Booth) -> None:
    await booth.line.send(TurnsChanged(turns={"barge_in": {"min_speech_ms": 500}}))
    await booth.feed(silence(500) + SPEECH + silence(400))
    assert (await booth.heard.wait_for(SpeechSustained)).speech_ms == 512


@pytest.mark.parametrize("turns", [{"barge_in": {"min_speech_ms": "soon"}}, {"patience": 1}, {"barge_in": None}])
async def test_a_change_that_cannot_be_used_changes_nothing(booth: Booth, turns: dict[str, object]) -> None:
    with structlog.testing.capture_logs() as logs:
        await booth.line.send(TurnsChanged(turns=turns))
        await booth.settle()
    [line] = [line for line in logs if line["event"] == "turns_not_changed"]
    assert (line["log_level"], line["call_id"]) == ("warning", CALL)
    assert line["place"].startswith(next(iter(turns)))
    await booth.feed(silence(500) + SPEECH + silence(400))
    assert (await booth.heard.wait_for(SpeechSustained)).speech_ms == 256


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
    async with open_booth() as paced:
        await paced.feed(audio)
    for start in range(0, len(audio) - FRAME_BYTES + 1, FRAME_BYTES):
        await booth.line.send_audio_in(start // FRAME_BYTES, start // 8, audio[start : start + FRAME_BYTES])
    await booth.bus.settle()
    await booth.settle()
    told = booth.transcriber.told
    assert told == paced.transcriber.told
    begin, finish = told.index("begin") * FRAME_MS, told.index("finish") * FRAME_MS
    assert 560 < begin < 500 + 200
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
    kinds = ("started", "sustained", "sustained", "stopped")
    assert booth.told == [(kind, number) for number in (1, 2) for kind in kinds]
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


async def test_a_silence_that_only_the_provider_notices_ends_the_utterance(booth: Booth) -> None:
    await booth.feed(silence(500) + SPEECH + SPEECH[: bytes_of(500)])
    noticed_ms = 500 + SPEECH_MS
    await booth.understand(Hypothesis("what are", True, True, silent_from_ms=noticed_ms))
    stopped = await booth.heard.wait_for(SpeechStopped)
    assert stopped.t_ms == noticed_ms
    assert 0 < stopped.t_ms / 1000 - (stopped.ended_at - 1000) <= 0.021
    assert [kind for kind, _ in booth.told] == ["started", "sustained", "sustained", "stopped", "final"]
    await booth.feed(silence(400))
    # The VAD's own stop asks for nothing and tells nothing.
    assert booth.transcriber.marks == ["begin"]
    assert len(booth.told) == 5
    await booth.feed(SPEECH + silence(400))
    await booth.understand(Hypothesis("your hours", True, True))
    assert booth.transcriber.marks == ["begin", "begin", "finish"]
    assert booth.told[-2:] == [("stopped", 2), ("final", 2)]


async def test_the_provider_is_not_asked_for_what_it_has_completed_meanwhile(booth: Booth) -> None:
    await booth.feed(silence(500) + SPEECH)
    booth.transcriber.may_feed.clear()
    await booth.feed(silence(400))
    await booth.understand(Hypothesis("what are", True, True, silent_from_ms=500 + SPEECH_MS))
    booth.transcriber.may_feed.set()
    await booth.settle()
    assert booth.transcriber.marks == ["begin"]
    await booth.feed(SPEECH + silence(400))
    await booth.understand(Hypothesis("your hours", True, True))
    finals = [(m.utterance, m.text, m.complete) for m in booth.heard.messages if isinstance(m, SpeechFinal)]
    assert finals == [(1, "what are", True), (2, "your hours", True)]


async def test_the_providers_end_of_a_turn_is_told(booth: Booth) -> None:
    await booth.feed(silence(500) + SPEECH)
    await booth.understand(Hypothesis("what are your", final=False, likely_over=True))
    await booth.feed(silence(400))
    await booth.understand(Hypothesis("what are your hours", True, True, turn_over=True))
    assert (await booth.heard.wait_for(SpeechPartial)).likely_over
    final = await booth.heard.wait_for(SpeechFinal)
    assert (final.text, final.complete, final.turn_over) == ("what are your hours", True, True)
    assert booth.told[-2:] == [("stopped", 1), ("final", 1)]


async def test_a_slow_provider_loses_the_oldest_audio_and_no_speech_event(booth: Booth) -> None:
    booth.transcriber.may_feed.clear()
    audio = silence(2000) + SPEECH + silence(2600)
    await booth.feed(audio)
    assert booth.told == [("started", 1), ("sustained", 1), ("sustained", 1), ("stopped", 1)]
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


AGENT = trim(speak("Your order has been shipped and will arrive on Tuesday", "en-us+f3").mulaw)
LEAD_MS = 600


@pytest.mark.parametrize("noisy_line", [False, True])
@pytest.mark.parametrize(("delay_ms", "gain_db"), [(20, -6), (180, -12), (350, -20), (600, -26)])
async def test_the_agents_echo_is_neither_voice_nor_words(
    booth: Booth, delay_ms: int, gain_db: float, noisy_line: bool
) -> None:
    # 20 dB below the echo.
    noise = float(np.sqrt((decode(AGENT).astype(float) ** 2).mean())) * 10 ** ((gain_db - 20) / 20) * noisy_line
    line = noisy(mixed((LEAD_MS + delay_ms, gain_db, AGENT)), noise) + noisy(silence(1000), noise)
    await booth.feed(line[: bytes_of(LEAD_MS)])
    await booth.agent_speaks(AGENT)
    rest = line[bytes_of(LEAD_MS) :]
    for start in range(0, len(rest), bytes_of(100)):
        await booth.feed(rest[start : start + bytes_of(100)])
        if booth.told and booth.told[-1][0] == "started":
            await booth.understand(Hypothesis("your order", final=False), Hypothesis("your order", final=True))
    kinds = [kind for kind, _ in booth.told]
    assert "started" in kinds
    assert set(kinds) == {"started", "stopped"}
    for _ in range(kinds.count("stopped")):
        await booth.understand(Hypothesis("has been shipped", True, True))
    finals = [message for message in booth.heard.messages if isinstance(message, SpeechFinal)]
    assert len(finals) == kinds.count("started") == booth.transcriber.marks.count("finish")
    assert all(final.complete and not final.text and not final.words for final in finals)


@pytest.mark.parametrize("voice", ["en-us", "en-us+f3"])
@pytest.mark.parametrize("gain_db", [-10, -20])
async def test_a_caller_who_speaks_over_the_echo_is_heard(booth: Booth, voice: str, gain_db: float) -> None:
    caller = trim(speak("no wait, I asked about something else", voice).mulaw, keep_ms=0)
    over_ms = LEAD_MS + 1500
    line = mixed((LEAD_MS + 150, gain_db, AGENT), (over_ms, 0, caller)) + silence(500)
    await booth.feed(line[: bytes_of(LEAD_MS)])
    await booth.agent_speaks(AGENT)
    await booth.feed(line[bytes_of(LEAD_MS) : bytes_of(over_ms)])
    await booth.understand(Hypothesis("your order", final=False))
    assert not any(kind in ("sustained", "partial") for kind, _ in booth.told)
    await booth.feed(line[bytes_of(over_ms) : bytes_of(over_ms + 800)])
    sustained = await booth.heard.wait_for(SpeechSustained)
    # Some of it may be counted from before, and echo in the gaps delays it.
    assert over_ms + 100 <= sustained.t_ms <= over_ms + 500
    await booth.understand(Hypothesis("no wait", final=False))
    assert (await booth.heard.wait_for(SpeechPartial)).utterance == sustained.utterance
    await booth.feed(line[bytes_of(over_ms + 800) :] + silence(400))
    await booth.understand(Hypothesis("no wait I asked", True, True))
    assert [m.text for m in booth.heard.messages if isinstance(m, SpeechFinal) and m.text]


async def test_a_caller_without_echo_is_heard_at_once_over_the_agent(booth: Booth) -> None:
    await booth.agent_speaks(AGENT)
    await booth.feed(silence(500) + SPEECH + silence(400))
    sustained = await booth.heard.wait_for(SpeechSustained)
    assert sustained.t_ms - (await booth.heard.wait_for(SpeechStarted)).t_ms <= 256 + 96
    await booth.understand(Hypothesis("what are your hours", True, True))
    assert (await booth.heard.wait_for(SpeechFinal)).text == "what are your hours"


async def test_a_caller_on_a_line_without_echo_is_not_judged(booth: Booth, monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(*_: object) -> bool:
        raise AssertionError("it was judged whether this is echo")

    await booth.feed(silence(LEAD_MS))
    await booth.agent_speaks(AGENT)
    await booth.feed(silence(1300))
    monkeypatch.setattr(EchoGuard, "is_echo", judge)
    await booth.feed(SPEECH)
    await booth.understand(Hypothesis("what are", final=False))
    await booth.feed(silence(400))
    await booth.understand(Hypothesis("what are your hours", True, True))
    kinds = ["started", "sustained", "sustained", "partial", "stopped", "final"]
    assert booth.told == [(kind, 1) for kind in kinds]


async def test_words_of_an_echo_that_only_the_provider_hears_are_nobodys() -> None:
    async with open_booth(SpeechDetector(start=2.0)) as booth:
        await booth.agent_speaks(AGENT)
        await booth.feed(mixed((200, -30, AGENT))[: bytes_of(2000)])
        await booth.understand(Hypothesis("your order one", final=False), Hypothesis("your order one", final=True))
        assert booth.told == []
        await booth.feed(silence(4000))
        await booth.understand(Hypothesis("psst", final=False))
        assert booth.told == [("started", 1), ("partial", 1)]
