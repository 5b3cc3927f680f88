"""Deepgram's SDK against the stand-in, with espeak-ng's speech."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from pydantic import SecretStr

from services.stt.provider import Hypothesis
from services.stt.providers.deepgram import Deepgram
from services.stt.providers.deepgram_line import Patience, RecognitionLost
from shared.agents import AgentProfile, SttProfile
from shared.audio import duration_ms
from shared.phrases import normalize
from shared.settings import Settings
from shared.stage import CannotServe
from simulator.standins.deepgram_connection import Habits
from tests.integration.deepgram_vendor import BOOKING, THANKS, Ear, Vendor, audio, feed, say, silence


@pytest_asyncio.fixture
async def vendor() -> AsyncIterator[Vendor]:
    async with Vendor() as standing_in:
        yield standing_in


@pytest.fixture
def ear() -> Ear:
    return Ear()


async def test_speech_brings_interim_text_and_then_the_final_one(vendor: Vendor, ear: Ear) -> None:
    stream = await vendor.open(ear)
    await say(stream, BOOKING)
    await ear.completed(1)
    interim = [hypothesis.text for hypothesis in ear.heard if not hypothesis.final]
    assert interim
    assert all(BOOKING.startswith(text) for text in interim)
    assert ear.final_text == BOOKING
    assert ear.complete[0].text == BOOKING
    assert ear.complete[0].confidence > 0.85
    assert ear.heard[-1].complete
    await stream.close()
    assert ear.failures == []


async def test_words_lie_on_the_callers_timeline_in_every_utterance(vendor: Vendor, ear: Ear) -> None:
    stream = await vendor.open(ear)
    began_ms = 0
    for number, text in enumerate((BOOKING, THANKS), 1):
        await say(stream, text)
        await ear.completed(number)
        words, speech_ms = ear.complete[-1].words, duration_ms(audio(text))
        assert [word.text for word in words] == text.split()
        assert abs(words[0].start_ms - (began_ms + 200)) <= 40
        assert abs(words[-1].end_ms - (began_ms + 200 + speech_ms)) <= 40
        assert all(word.start_ms < word.end_ms for word in words)
        began_ms += 200 + -(-(speech_ms + 200) // 20) * 20 - 200 + 180
    assert ear.final_text == f"{BOOKING} {THANKS}"
    await stream.close()


async def test_a_finish_without_speech_brings_one_empty_complete_transcript(vendor: Vendor, ear: Ear) -> None:
    stream = await vendor.open(ear)
    await feed(stream, silence(500))
    await stream.finish()
    await ear.completed(1)
    await say(stream, BOOKING)
    await ear.completed(2)
    assert [hypothesis.text for hypothesis in ear.complete] == ["", BOOKING]
    await stream.close()


async def test_two_finishes_in_a_row_are_both_answered(vendor: Vendor, ear: Ear) -> None:
    vendor.behaviour.stt_final_ms = 50
    stream = await vendor.open(ear)
    await say(stream, BOOKING)
    await stream.finish()
    await ear.completed(2)
    # Deepgram has nothing left and would not answer.
    await stream.finish()
    await ear.completed(3)
    assert sorted(hypothesis.text for hypothesis in ear.complete) == ["", "", BOOKING]
    await stream.close()


async def test_an_unanswered_finish_is_completed_in_the_end(ear: Ear) -> None:
    async with Vendor(Habits(answers_finalize=False)) as vendor:
        stream = await vendor.open(ear, patience=Patience(finish_s=0.05))
        await say(stream, BOOKING)
        await ear.completed(1)
        assert ear.complete == [Hypothesis("", final=True, complete=True, given_up=True)]
        await stream.close()
        assert ear.failures == []


async def test_without_a_finish_deepgram_notices_the_silence(vendor: Vendor, ear: Ear) -> None:
    stream = await vendor.open(ear)
    await feed(stream, silence(200) + audio(BOOKING) + silence(700))
    await ear.completed(1)
    (heard,) = ear.complete
    assert heard.text == BOOKING
    assert heard.silent_from_ms == heard.words[-1].end_ms
    assert abs(heard.silent_from_ms - 200 - duration_ms(audio(BOOKING))) <= 40
    # The gap between the words comes to the same end, and is not told again.
    await feed(stream, silence(2000))
    await stream.finish()
    await ear.completed(2)
    assert ear.complete[1] == Hypothesis("", final=True, complete=True)
    await stream.close()


async def test_where_noise_hides_the_silence_the_gap_between_the_words_ends_the_utterance(ear: Ear) -> None:
    async with Vendor(Habits(endpoints=False)) as vendor:
        stream = await vendor.open(ear)
        await feed(stream, silence(200) + audio(BOOKING) + silence(1300))
        await ear.completed(1)
        (heard,) = ear.complete
        assert heard.text == BOOKING
        assert heard.silent_from_ms is not None
        assert abs(heard.silent_from_ms - 200 - duration_ms(audio(BOOKING))) <= 40
        await say(stream, THANKS)
        await ear.completed(2)
        assert [hypothesis.text for hypothesis in ear.complete] == [BOOKING, THANKS]
        assert ear.complete[1].silent_from_ms is None
        await stream.close()


async def test_a_silence_that_deepgram_notices_late_does_not_answer_a_finish(vendor: Vendor, ear: Ear) -> None:
    vendor.behaviour.stt_final_ms = 200
    stream = await vendor.open(ear)
    await feed(stream, silence(200) + audio(BOOKING) + silence(700))
    await stream.finish()
    await ear.completed(1)
    finals = [hypothesis for hypothesis in ear.heard if hypothesis.final]
    assert [(final.text, final.complete) for final in finals] == [(BOOKING, False), ("", True)]
    assert all(final.silent_from_ms is None for final in finals)
    await stream.close()


async def test_a_silence_without_words_is_not_told(vendor: Vendor, ear: Ear) -> None:
    stream = await vendor.open(ear)
    await feed(stream, audio("seven green bottles are hanging on the wall") + silence(2000))
    await say(stream, BOOKING)
    await ear.completed(1)
    assert [hypothesis.text for hypothesis in ear.complete] == [BOOKING]
    await stream.close()


async def test_a_late_answer_keeps_its_text_and_completes_nothing_else(vendor: Vendor, ear: Ear) -> None:
    vendor.behaviour.stt_final_ms = 300
    stream = await vendor.open(ear, patience=Patience(finish_s=0.05))
    await say(stream, BOOKING)
    await ear.completed(1)
    await ear.until(lambda: ear.final_text == BOOKING)
    assert [hypothesis.text for hypothesis in ear.complete] == [""]
    await stream.close()


async def test_a_wrong_key_is_refused_with_the_variable_to_set_and_not_told(vendor: Vendor, ear: Ear) -> None:
    with pytest.raises(CannotServe, match="set DEEPGRAM_API_KEY") as refusal:
        await vendor.open(ear, key="sk-secret")
    assert "sk-secret" not in str(refusal.value)
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize("stt", [SttProfile(model="nova-99"), SttProfile(language="klingon")])
async def test_a_wrong_model_or_language_is_refused_with_the_fields_to_set(
    vendor: Vendor, ear: Ear, stt: SttProfile
) -> None:
    with pytest.raises(CannotServe, match=r"HTTP 400: .*stt\.model"):
        await vendor.open(ear, stt)


async def test_keyterms_reach_deepgram_one_by_one(vendor: Vendor, ear: Ear) -> None:
    stream = await vendor.open(ear, SttProfile(keyterms=("Bella", "customer service")))
    await stream.close()
    with pytest.raises(CannotServe, match="Nova-3"):
        await vendor.open(ear, SttProfile(model="nova-2", keyterms=("Bella",)))


async def test_an_address_where_nobody_answers_cannot_serve(ear: Ear) -> None:
    settings = Settings(deepgram_api_key=SecretStr("k"), deepgram_base_url=f"http://127.0.0.1:{unused_port()}")
    with pytest.raises(CannotServe, match="DEEPGRAM_BASE_URL"):
        await Deepgram(settings).open_transcriber(AgentProfile(name="test"), ear.hear, ear.fail)


async def test_a_vendor_that_hangs_cannot_serve_and_is_not_waited_for(ear: Ear) -> None:
    connected: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: connected.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    settings = Settings(deepgram_api_key=SecretStr("k"), deepgram_base_url=url, provider_connect_s=0.1)
    with pytest.raises(CannotServe, match="cannot be reached"):
        async with asyncio.timeout(2):
            await Deepgram(settings).open_transcriber(AgentProfile(name="test"), ear.hear, ear.fail)
    for writer in connected:
        writer.close()
    server.close()
    await server.wait_closed()


async def test_keep_alives_hold_a_silent_socket_open(ear: Ear) -> None:
    async with Vendor(Habits(patience_s=1)) as vendor:
        mute, kept = Ear(), ear
        await_mute = await vendor.open(mute)
        stream = await vendor.open(kept, patience=Patience(finish_s=10, keep_alive_s=0.05))
        # The one without KeepAlive shows when the vendor's patience is over, the newer one outlives it twice.
        await mute.until(lambda: bool(mute.failures))
        assert "NET-0001" in str(mute.failures[0])
        second = Ear()
        other = await vendor.open(second)
        await second.until(lambda: bool(second.failures))
        assert kept.failures == []
        await say(stream, BOOKING)
        await kept.completed(1)
        assert kept.final_text == BOOKING
        for each in (await_mute, other, stream):
            await each.close()


async def test_a_lost_socket_fails_once_and_takes_what_still_comes(vendor: Vendor, ear: Ear) -> None:
    stream = await vendor.open(ear)
    await feed(stream, silence(100))
    vendor.cut_the_line()
    await ear.until(lambda: bool(ear.failures))
    await say(stream, BOOKING)
    await stream.close()
    assert len(ear.failures) == 1
    assert isinstance(ear.failures[0], RecognitionLost)
    assert ear.heard == []


async def test_closing_is_not_a_failure_and_may_happen_twice(vendor: Vendor, ear: Ear) -> None:
    stream = await vendor.open(ear)
    await say(stream, BOOKING)
    await stream.close()
    await stream.close()
    await feed(stream, silence(100))
    await stream.finish()
    assert ear.failures == []


async def test_closing_does_not_wait_for_a_peer_that_is_silent(ear: Ear) -> None:
    release = asyncio.Event()

    async def deaf(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await release.wait()
        return socket

    app = web.Application()
    app.router.add_get("/v1/listen", deaf)
    async with TestServer(app) as server:
        settings = Settings(deepgram_api_key=SecretStr("k"), deepgram_base_url=str(server.make_url("")).rstrip("/"))
        stream = await Deepgram(settings).open_transcriber(AgentProfile(name="test"), ear.hear, ear.fail)
        async with asyncio.timeout(1.0):
            await stream.close()
        release.set()
    assert ear.failures == []


async def test_the_standins_of_all_vendors_understand_the_scenario_and_learn_more() -> None:
    from simulator.standins.server import Standins

    async with Standins() as standins, aiohttp.ClientSession() as http:
        url = f"{standins.url}/standins/phrases"
        async with http.post(url, json={"texts": [BOOKING]}) as answer:
            assert answer.status == 200
        ear = Ear()
        settings = Settings(deepgram_api_key=SecretStr("stand-in"), deepgram_base_url=standins.url)
        stream = await Deepgram(settings).open_transcriber(AgentProfile(name="test"), ear.hear, ear.fail)
        await say(stream, BOOKING)
        await ear.completed(1)
        assert normalize(ear.final_text) == normalize(BOOKING)
        await stream.close()
