"""Flux through Deepgram's SDK against the stand-in, with espeak-ng's speech."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.stt.provider import Hypothesis
from services.stt.providers.deepgram_line import Patience, RecognitionLost
from shared.agents import SttProfile
from shared.audio import FRAME_BYTES, duration_ms
from shared.stage import CannotServe
from shared.turn_taking import TurnProfile
from simulator.standins.deepgram_connection import Habits
from tests.integration.deepgram_vendor import BOOKING, ORDER, THANKS, Ear, Vendor, audio, feed, say, silence

FLUX = SttProfile(provider="deepgram", model="flux-general-en")
NOTHING = Hypothesis("", final=True, complete=True)


@pytest_asyncio.fixture
async def vendor() -> AsyncIterator[Vendor]:
    async with Vendor() as standing_in:
        yield standing_in


@pytest.fixture
def ear() -> Ear:
    return Ear()


async def test_speech_brings_interim_text_a_likely_end_and_then_the_end_of_the_turn(vendor: Vendor, ear: Ear) -> None:
    stream = await vendor.open(ear, FLUX)
    await say(stream, BOOKING)
    await feed(stream, silence(1000))
    await ear.completed(1)
    *interims, over = ear.heard
    assert all(BOOKING.startswith(hypothesis.text) and not hypothesis.final for hypothesis in interims)
    assert [hypothesis.likely_over for hypothesis in interims] == [False] * (len(interims) - 1) + [True]
    assert interims[-1].text == over.text == BOOKING
    assert over.final
    assert over.turn_over
    assert over.confidence > 0.85
    assert [word.text for word in over.words] == BOOKING.split()
    assert abs(over.words[0].start_ms - 200) <= 40
    assert abs(over.words[-1].end_ms - 200 - duration_ms(audio(BOOKING))) <= 40
    await stream.close()
    assert ear.failures == []


async def test_a_turn_is_over_without_a_finish_and_a_finish_later_is_still_answered(vendor: Vendor, ear: Ear) -> None:
    stream = await vendor.open(ear, FLUX)
    await feed(stream, audio(BOOKING) + silence(600))
    await ear.completed(1)
    assert ear.complete[0].turn_over
    await stream.finish()
    await feed(stream, silence(800))
    await ear.completed(2)
    assert ear.complete[1] == NOTHING
    await stream.close()


async def test_a_pause_in_a_sentence_does_not_end_the_turn(vendor: Vendor, ear: Ear) -> None:
    stream = await vendor.open(ear, FLUX)
    await say(stream, ORDER)
    await feed(stream, silence(500))
    await say(stream, THANKS)
    await feed(stream, silence(1000))
    await ear.completed(2)
    assert [(hypothesis.text, hypothesis.turn_over) for hypothesis in ear.complete] == [
        ("", False),
        (f"{ORDER} {THANKS}", True),
    ]
    await stream.close()


async def test_an_unfinished_sentence_is_over_after_the_agents_patience(vendor: Vendor, ear: Ear) -> None:
    stream = await vendor.open(ear, FLUX, turns=TurnProfile(patience_ms=800))
    await say(stream, ORDER)
    await feed(stream, silence(500))
    assert ear.complete == []
    await feed(stream, silence(500))
    await ear.completed(1)
    assert ear.complete[0].text == ORDER
    assert not any(hypothesis.likely_over for hypothesis in ear.heard)
    await stream.close()


async def test_an_agent_that_does_not_speculate_is_told_of_no_likely_end(vendor: Vendor, ear: Ear) -> None:
    stream = await vendor.open(ear, FLUX, turns=TurnProfile(speculation=False))
    await say(stream, BOOKING)
    await feed(stream, silence(1000))
    await ear.completed(1)
    assert ear.final_text == BOOKING
    assert not any(hypothesis.likely_over for hypothesis in ear.heard)
    await stream.close()


async def test_a_noise_is_answered_with_nothing_as_soon_as_enough_silence_was_heard(vendor: Vendor, ear: Ear) -> None:
    # Its patience is ten seconds: the answer comes by the audio, not by the clock.
    stream = await vendor.open(ear, FLUX)
    await say(stream, "seven green bottles are hanging on the wall")
    await feed(stream, silence(600))
    await ear.completed(1)
    assert ear.heard == [NOTHING]
    await stream.close()


async def test_a_finish_is_answered_also_when_no_more_audio_comes(vendor: Vendor, ear: Ear) -> None:
    stream = await vendor.open(ear, FLUX, patience=Patience(finish_s=0.05))
    await feed(stream, silence(500))
    await stream.finish()
    await ear.completed(1)
    assert ear.heard == [NOTHING]
    await stream.close()


async def test_a_turn_that_flux_does_not_end_is_given_up_with_its_text(ear: Ear) -> None:
    async with Vendor(Habits(ends_turns=False)) as vendor:
        turns = TurnProfile(patience_ms=500)
        stream = await vendor.open(ear, FLUX, patience=Patience(finish_s=0.05, turn_s=0.1), turns=turns)
        await feed(stream, audio(BOOKING))
        await ear.until(lambda: bool(ear.heard))
        await stream.finish()
        await feed(stream, silence(400))
        await ear.completed(1)
        assert (ear.complete[0].text, ear.complete[0].turn_over) == (BOOKING, False)
        await stream.close()
        assert ear.failures == []


async def test_frames_are_sent_four_at_a_time(vendor: Vendor, ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    stream = await vendor.open(ear, FLUX)
    send = stream._socket.send_media  # type: ignore[attr-defined]

    async def counted(audio: bytes) -> None:
        sent.append(len(audio))
        await send(audio)

    monkeypatch.setattr(stream._socket, "send_media", counted)  # type: ignore[attr-defined]
    await feed(stream, silence(200))
    assert sent == [4 * FRAME_BYTES] * 2
    await stream.close()


async def test_a_wrong_key_is_refused_with_the_variable_to_set(vendor: Vendor, ear: Ear) -> None:
    with pytest.raises(CannotServe, match="set DEEPGRAM_API_KEY"):
        await vendor.open(ear, FLUX, key="sk-secret")


async def test_a_wrong_model_is_refused_with_the_field_to_set(vendor: Vendor, ear: Ear) -> None:
    with pytest.raises(CannotServe, match=r"HTTP 400: .*stt\.model"):
        await vendor.open(ear, SttProfile(model="flux-general-tlh"))


async def test_hints_and_keyterms_reach_deepgram(vendor: Vendor, ear: Ear) -> None:
    multi = SttProfile(model="flux-general-multi", language="es", keyterms=("Bella", "customer service"))
    stream = await vendor.open(ear, multi)
    await say(stream, BOOKING)
    await feed(stream, silence(1000))
    await ear.completed(1)
    assert ear.final_text == BOOKING
    await stream.close()


async def test_an_error_of_the_vendor_loses_the_recognition_with_its_reason(vendor: Vendor, ear: Ear) -> None:
    stream = await vendor.open(ear, FLUX)
    await stream._socket._send("Finalise, please")  # type: ignore[attr-defined]
    await ear.until(lambda: bool(ear.failures))
    (failure,) = ear.failures
    assert isinstance(failure, RecognitionLost)
    assert "UNPARSABLE_CLIENT_MESSAGE" in str(failure)
    await stream.close()


async def test_a_lost_socket_fails_once_and_takes_what_still_comes(vendor: Vendor, ear: Ear) -> None:
    stream = await vendor.open(ear, FLUX)
    await feed(stream, silence(100))
    vendor.cut_the_line()
    await ear.until(lambda: bool(ear.failures))
    await say(stream, BOOKING)
    await stream.close()
    assert len(ear.failures) == 1
    assert isinstance(ear.failures[0], RecognitionLost)
    assert ear.heard == []
