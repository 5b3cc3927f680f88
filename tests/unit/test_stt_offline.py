"""What the offline recogniser expects to hear, and what it says about a scenario that it cannot hear."""

import asyncio
from pathlib import Path

import pytest
import structlog

from services.stt.provider import Hypothesis
from services.stt.providers import offline, offline_language
from services.stt.providers.offline import OfflineTranscriber
from services.stt.providers.offline_audio import LONGEST_MS, Upsampler
from services.stt.providers.offline_language import Language
from shared import scenario
from shared.agents import AgentProfile
from shared.audio import FRAME_BYTES, SILENCE, bytes_of
from shared.espeak import speak, trim
from shared.stage import CannotServe

SCENARIO = """
name: {name}
slots: {{number: [one, two]}}
intents:
  - {{name: only, phrases: ["{phrase}"], reply: Yes.}}
fallback: What?
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(scenario, "FOLDER", tmp_path)
    return tmp_path


async def refusal(name: str) -> str:
    with pytest.raises(CannotServe) as caught:
        await offline.open_transcriber(AgentProfile(name="test", scenario=name), lambda _: None, lambda _: None)
    return str(caught.value)


async def test_a_word_without_pronunciation_is_named(folder: Path) -> None:
    (folder / "odd-word.yaml").write_text(SCENARIO.format(name="odd-word", phrase="give me a zzyzxq please"))
    assert "zzyzxq" in await refusal("odd-word")


async def test_a_missing_scenario_is_named(folder: Path) -> None:
    assert "nowhere.yaml" in await refusal("nowhere")


async def test_a_call_of_a_prepared_scenario_does_not_wait_for_its_language(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "early.yaml").write_text(SCENARIO.format(name="early", phrase="the early bird"))
    (folder / "unheard.yaml").write_text(SCENARIO.format(name="unheard", phrase="give me a zzyzxq please"))
    with structlog.testing.capture_logs() as logs:
        offline.prepare()
    assert [line["scenario"] for line in logs if line["event"] == "scenario_unusable"] == ["unheard"]

    def make(*_: object) -> str:
        raise AssertionError("the language is made anew")

    monkeypatch.setattr(offline_language, "_trigrams", make)
    profile = AgentProfile(name="test", scenario="early")
    await (await offline.open_transcriber(profile, lambda _: None, lambda _: None)).close()


def test_the_language_covers_the_sentences_of_the_scenario_and_no_others() -> None:
    language = offline_language.load("bella")
    assert language.covers("my order number is one two three four")
    assert language.covers("thank you goodbye")
    for other in ("my order number is one two", "thank you", "", "goodbye goodbye"):
        assert not language.covers(other)


def test_a_word_also_has_the_sound_that_the_telephone_leaves_of_it() -> None:
    lines = offline_language.load("bella").dictionary.splitlines()
    assert "six S IH K S" in lines
    assert "six(2) F IH K F" in lines
    assert "nine(2) M AY N" in lines


def test_the_dictionary_has_every_value_of_every_slot() -> None:
    words = {line.split("(")[0].split()[0] for line in offline_language.load("bella").dictionary.splitlines()}
    values = [value for values in scenario.load("bella").slots.values() for value in values]
    assert set(values) <= words


def test_a_language_is_the_same_each_time(folder: Path) -> None:
    for name in ("first", "second"):
        (folder / f"{name}.yaml").write_text(SCENARIO.format(name=name, phrase="call [me] {number} {number}"))
    first, second = (offline_language.load(name) for name in ("first", "second"))
    assert isinstance(first, Language)
    assert (first.grammar, first.trigrams, first.dictionary) == (second.grammar, second.trigrams, second.dictionary)


@pytest.mark.parametrize("size", [1, 7, FRAME_BYTES, 4 * FRAME_BYTES])
def test_audio_is_upsampled_alike_whatever_the_size_of_its_pieces(size: int) -> None:
    mulaw = trim(speak("what are your opening hours").mulaw)
    whole, upsample = Upsampler()(mulaw), Upsampler()
    pieces = b"".join(upsample(mulaw[start : start + size]) for start in range(0, len(mulaw), size))
    assert pieces == whole
    assert len(whole) == len(mulaw) * 4


async def test_endless_speech_is_given_up_and_still_answered_once() -> None:
    listener = Listener()
    profile = AgentProfile(name="test", scenario="bella")
    transcriber = await offline.open_transcriber(profile, listener, lambda _: None)
    await transcriber.begin()
    speech = trim(speak("my car broke down on the highway this morning ").mulaw)
    long = speech * (LONGEST_MS * 8 // len(speech) + 2)
    for start in range(0, len(long), FRAME_BYTES):
        await transcriber.feed(long[start : start + FRAME_BYTES])
    await transcriber.finish()
    assert await listener.next() == offline.UNINTELLIGIBLE
    await transcriber.close()
    assert listener.answers.empty()


async def test_a_soft_beginning_before_the_begin_is_heard() -> None:
    heard: list[Hypothesis] = []
    profile = AgentProfile(name="test", scenario="bella")
    transcriber = await offline.open_transcriber(profile, heard.append, lambda _: None)
    speech = SILENCE * bytes_of(400) + trim(speak("what did I book").mulaw) + SILENCE * bytes_of(200)
    for number, start in enumerate(range(0, len(speech), FRAME_BYTES)):
        if number == 33:  # 260 ms after the first sound
            await transcriber.begin()
        await transcriber.feed(speech[start : start + FRAME_BYTES])
    await transcriber.finish()
    assert heard[-1] == Hypothesis("what did i book", final=True, complete=True)
    await transcriber.close()


class Listener:
    def __init__(self) -> None:
        self.answers: asyncio.Queue[str] = asyncio.Queue()

    def __call__(self, hypothesis: Hypothesis) -> None:
        if hypothesis.complete:
            self.answers.put_nowait(hypothesis.text)

    async def next(self) -> str:
        return await asyncio.wait_for(self.answers.get(), 5)


async def utter(transcriber: OfflineTranscriber, mulaw: bytes) -> None:
    frames = [mulaw[at : at + FRAME_BYTES] for at in range(0, len(mulaw), FRAME_BYTES)]
    for frame in frames[:10]:
        await transcriber.feed(frame)
    await transcriber.begin()
    for frame in frames[10:]:
        await transcriber.feed(frame)
    await transcriber.finish()


async def test_a_sentence_with_a_pause_in_it_is_understood_as_a_whole() -> None:
    listener = Listener()
    transcriber = await offline.open_transcriber(AgentProfile(name="test"), listener, lambda _: None)
    for half in ("my order number is one two", "three four"):
        spoken = trim(speak(half).mulaw)
        await utter(transcriber, SILENCE * bytes_of(100) + spoken + SILENCE * bytes_of(240))
    assert [await listener.next(), await listener.next()] == ["", "my order number is one two three four"]
    await transcriber.close()


async def test_speech_that_is_no_sentence_is_called_unintelligible() -> None:
    listener = Listener()
    transcriber = await offline.open_transcriber(AgentProfile(name="test"), listener, lambda _: None)
    spoken = trim(speak("my car broke down on the highway this morning").mulaw)
    await utter(transcriber, SILENCE * bytes_of(100) + spoken + SILENCE * bytes_of(240))
    assert await listener.next() == offline.UNINTELLIGIBLE
    await utter(
        transcriber,
        SILENCE * bytes_of(100) + trim(speak("what are your opening hours").mulaw) + SILENCE * bytes_of(240),
    )
    assert await listener.next() == "what are your opening hours"
    await transcriber.close()


async def test_decoders_that_a_call_has_left_serve_the_next_one() -> None:
    agent = AgentProfile(name="test")
    first = await offline.open_transcriber(agent, lambda _: None, lambda _: None)
    await first.close()
    await first.close()
    second = await offline.open_transcriber(agent, lambda _: None, lambda _: None)
    third = await offline.open_transcriber(agent, lambda _: None, lambda _: None)
    assert second._grammar is first._grammar
    assert third._grammar is not second._grammar
    await second.close()
    await third.close()
