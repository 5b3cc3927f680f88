"""The simulated phone against a small gateway of the test's own, over real sockets."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from shared.audio import FRAME_BYTES, SILENCE
from simulator.carrier import Gateway
from simulator.echo import Echo
from simulator.phone import CallOver, Phone
from simulator.playback import Playback
from tests.integration.fake_gateway import LOUD, TOKEN, FakeGateway, Stream


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    fake = FakeGateway()
    await fake.start()
    yield fake
    await fake.stop()


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def phone_to(http: aiohttp.ClientSession, gateway: FakeGateway, **options: Any) -> Phone:
    return Phone(http, Gateway(gateway.url, TOKEN), "+15550100", **options)


def heard(stream: Stream) -> bytes:
    """The caller's audio, as the gateway got it."""
    return b"".join(base64.b64decode(message["media"]["payload"]) for message in stream.of("media"))


async def finished(phone: Phone) -> None:
    async with asyncio.timeout(10):
        while not phone.over:
            await phone.changed(10)


async def test_a_call_begins_and_ends_as_twilios_does(http: aiohttp.ClientSession, gateway: FakeGateway) -> None:
    phone = phone_to(http, gateway)
    await phone.dial()
    stream = await gateway.stream(0)
    await stream.until(lambda: len(stream.of("media")) >= 5)
    await phone.hang_up()
    await stream.until(lambda: stream.closed)
    voice, status = gateway.webhooks
    assert (voice["kind"], voice["CallStatus"]) == ("voice", "ringing")
    assert (status["kind"], status["CallStatus"], status["CallSid"]) == ("status", "completed", phone.id)
    assert (voice["CallSid"], voice["To"], voice["Direction"]) == (phone.id, "+15550100", "inbound")
    assert [message["event"] for message in stream.messages[:3]] == ["connected", "start", "media"]
    assert stream.messages[1]["start"]["callSid"] == phone.id
    assert stream.messages[1]["start"]["customParameters"] == {"token": "t1"}
    assert stream.messages[-1]["event"] == "stop"
    numbers = [int(message["sequenceNumber"]) for message in stream.messages[1:]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert (phone.record.ended, phone.record.faults, gateway.refused) == ("the caller hung up", [], 0)


async def test_frames_keep_to_an_absolute_clock_however_late_the_loop_is(
    http: aiohttp.ClientSession, gateway: FakeGateway
) -> None:
    lateness = [0.0]
    phone = phone_to(http, gateway, clock=lambda: time.monotonic() + lateness[0])
    await phone.dial()
    stream = await gateway.stream(0)
    await stream.until(lambda: len(stream.of("media")) >= 3)
    lateness[0] = 5.0
    await stream.until(lambda: len(stream.of("media")) >= 253)
    await phone.hang_up()
    await stream.until(lambda: stream.closed)
    sent = stream.of("media")
    assert [int(message["media"]["timestamp"]) for message in sent] == [20 * n for n in range(len(sent))]
    elapsed = phone.clock() - phone.playback.started
    assert len(sent) <= elapsed / 0.02 + 1


async def test_a_phone_whose_frames_fail_ends_its_call_and_no_other(
    http: aiohttp.ClientSession, gateway: FakeGateway
) -> None:
    class Broken(Echo):
        def frame(self, playback: Playback, now: float, said: bytes) -> bytes:
            raise RuntimeError("no microphone")

    broken, other = phone_to(http, gateway), phone_to(http, gateway)
    await broken.dial()
    await other.dial()
    stream = await gateway.stream(1)
    broken.echo = Broken()
    await finished(broken)
    with pytest.raises(RuntimeError, match="no microphone"):
        await broken.hang_up()
    frames = len(stream.of("media"))
    await stream.until(lambda: len(stream.of("media")) >= frames + 3)
    await other.hang_up()
    assert other.record.ended == "the caller hung up"


async def test_what_is_said_arrives_whole_and_its_end_is_told(
    http: aiohttp.ClientSession, gateway: FakeGateway
) -> None:
    phone = phone_to(http, gateway)
    await phone.dial()
    spoken = await phone.speak(LOUD * (3 * FRAME_BYTES) + SILENCE * FRAME_BYTES)
    first = phone.recording()[0].index(LOUD) // FRAME_BYTES
    assert phone.playback.started + first * 0.02 <= spoken.began
    assert phone.playback.started + (first + 2) * 0.02 <= spoken.ended < phone.clock()
    await phone.press("5")
    stream = await gateway.stream(0)
    await stream.until(lambda: bool(stream.of("dtmf")))
    await phone.hang_up()
    audio = heard(stream)
    assert audio.strip(SILENCE) == LOUD * (3 * FRAME_BYTES)
    assert stream.of("dtmf")[0]["dtmf"]["digit"] == "5"
    assert phone.recording()[0].startswith(audio)


async def test_marks_come_back_when_their_audio_was_played(http: aiohttp.ClientSession, gateway: FakeGateway) -> None:
    async def script(stream: Stream) -> None:
        await stream.send("mark", mark={"name": "at once"})
        await stream.play(LOUD * 800)
        await stream.send("mark", mark={"name": "played"})

    gateway.script = script
    phone = phone_to(http, gateway)
    await phone.dial()
    stream = await gateway.stream(0)
    await stream.until(lambda: len(stream.of("mark")) == 2)
    returned = phone.clock()
    await phone.hang_up()
    assert [message["mark"]["name"] for message in stream.of("mark")] == ["at once", "played"]
    assert returned >= phone.playback.ends
    began = phone.playback.first_audible(phone.playback.started)
    assert began is not None and returned - began >= 0.1


async def test_a_clear_silences_the_agent_and_returns_the_marks(
    http: aiohttp.ClientSession, gateway: FakeGateway
) -> None:
    async def script(stream: Stream) -> None:
        await stream.play(LOUD * 8000 * 30)
        await stream.send("mark", mark={"name": "never heard"})
        await stream.send("clear")

    gateway.script = script
    phone = phone_to(http, gateway)
    await phone.dial()
    stream = await gateway.stream(0)
    await stream.until(lambda: bool(stream.of("mark")))
    assert stream.of("mark")[0]["mark"]["name"] == "never heard"
    assert phone.playback.ends - phone.playback.started < 25
    assert phone.playback.clears == 1
    assert phone.playback.cleared_at == [pytest.approx(phone.playback.ends, abs=0.001)]
    await phone.hang_up()


async def test_a_mark_after_a_clear_comes_back_before_the_one_that_was_cleared_would_have(
    http: aiohttp.ClientSession, gateway: FakeGateway
) -> None:
    async def script(stream: Stream) -> None:
        await stream.play(LOUD * 8000 * 30)
        await stream.send("mark", mark={"name": "never heard"})
        await stream.send("clear")
        await stream.play(LOUD * 800)
        await stream.send("mark", mark={"name": "heard"})

    gateway.script = script
    phone = phone_to(http, gateway)
    await phone.dial()
    stream = await gateway.stream(0)
    await stream.until(lambda: len(stream.of("mark")) == 2)
    assert stream.of("mark")[1]["mark"]["name"] == "heard"
    assert phone.playback.ends <= phone.clock()
    await phone.hang_up()


async def test_a_caller_may_speak_over_the_agent(http: aiohttp.ClientSession, gateway: FakeGateway) -> None:
    async def greeting(stream: Stream) -> None:
        await stream.play(LOUD * 8000 * 5)
        await stream.send("mark", mark={"name": "greeting"})

    gateway.script = greeting
    phone = phone_to(http, gateway)
    await phone.dial()
    while not phone.playback.played():
        await phone.changed(10)
    spoken = await phone.speak(LOUD * (5 * FRAME_BYTES))
    assert phone.playback.started <= spoken.began < spoken.voice_at(60) < spoken.ended
    assert phone.playback.audible(spoken.began) and phone.playback.audible(spoken.ended)
    stream = await gateway.stream(0)
    await stream.until(lambda: heard(stream).count(LOUD) == 5 * FRAME_BYTES)
    assert not stream.of("mark")
    ((began, ends),) = phone.playback.played()
    assert ends - began == pytest.approx(5.0)
    await phone.hang_up()


async def test_a_caller_stops_in_mid_sentence(http: aiohttp.ClientSession, gateway: FakeGateway) -> None:
    phone = phone_to(http, gateway)
    await phone.dial()
    stream = await gateway.stream(0)
    sentence, next_one = phone.speak_nowait(LOUD * 8000 * 60), phone.speak_nowait(LOUD)
    await stream.until(lambda: heard(stream).count(LOUD) >= 3 * FRAME_BYTES)
    phone.hush()
    spoken, unsaid = await sentence, await next_one
    frames = len(spoken.times)
    assert 3 <= frames < 500
    assert unsaid.began == unsaid.ended
    await phone.speak(SILENCE * FRAME_BYTES)
    await phone.hang_up()
    await stream.until(lambda: stream.closed)
    assert heard(stream).strip(SILENCE) == LOUD * (frames * FRAME_BYTES)


async def test_a_speakerphone_returns_the_agents_voice_until_it_is_switched_off(
    http: aiohttp.ClientSession, gateway: FakeGateway
) -> None:
    async def talk(stream: Stream) -> None:
        await stream.play(LOUD * 8000 * 60)

    gateway.script = talk
    phone = phone_to(http, gateway)
    await phone.dial()
    stream = await gateway.stream(0)
    await phone.speak(SILENCE * (10 * FRAME_BYTES))
    phone.echo = Echo(delay_ms=40, gain_db=0.0)
    await stream.until(lambda: heard(stream).count(LOUD) >= 5 * FRAME_BYTES)
    phone.echo = None
    await phone.speak(SILENCE * (2 * FRAME_BYTES))
    await phone.hang_up()
    await stream.until(lambda: stream.closed)
    audio = heard(stream)
    returned = audio.strip(SILENCE)
    assert audio.index(LOUD) >= 10 * FRAME_BYTES
    assert returned == LOUD * len(returned)
    assert audio.endswith(SILENCE * (2 * FRAME_BYTES))
    assert phone.recording()[0].startswith(audio)


async def test_when_the_socket_closes_the_next_verb_runs(http: aiohttp.ClientSession, gateway: FakeGateway) -> None:
    async def close_the_first(stream: Stream) -> None:
        if len(gateway.streams) == 1:
            await stream.until(lambda: bool(stream.of("media")))
            await stream.socket.close()

    gateway.script = close_the_first
    phone = phone_to(http, gateway)
    await phone.dial()
    first, second = gateway.streams[0], await gateway.stream(1)
    await second.until(lambda: bool(second.of("media")))
    assert first.sid != second.sid
    assert [hook["CallStatus"] for hook in gateway.webhooks] == ["ringing", "in-progress"]
    assert not first.of("stop")
    assert second.of("media")[0]["media"]["timestamp"] == "0"
    await phone.hang_up()
    assert phone.record.streams == 2
    said, _ = phone.recording()
    assert len(said) == FRAME_BYTES * (phone.record.lost_frames + len(first.of("media")) + len(second.of("media")))


async def test_a_sentence_of_the_carrier_and_a_hang_up_mean_no_call(
    http: aiohttp.ClientSession, gateway: FakeGateway
) -> None:
    gateway.documents = ["<Response><Say>We are sorry.</Say><Hangup/><Say>never</Say></Response>"]
    phone = phone_to(http, gateway)
    with pytest.raises(CallOver, match="the carrier said: We are sorry"):
        await phone.dial()
    assert phone.record.sentences == ["We are sorry."]
    assert [hook["kind"] for hook in gateway.webhooks] == ["voice", "status"]


async def test_the_agent_may_hang_up(http: aiohttp.ClientSession, gateway: FakeGateway) -> None:
    gateway.documents = [gateway.connect(), "<Response><Hangup/></Response>"]
    phone = phone_to(http, gateway)
    await phone.dial()
    speaking = asyncio.create_task(phone.speak(LOUD * 8000 * 60))
    stream = await gateway.stream(0)
    await stream.until(lambda: bool(stream.of("media")))
    await stream.socket.close()
    await finished(phone)
    assert phone.record.ended == "the agent hung up"
    with pytest.raises(CallOver, match="the agent hung up"):
        await speaking
    with pytest.raises(CallOver):
        await phone.press("1")


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("not xml", "not XML"),
        ("<Response><Gather/></Response>", "<Gather>"),
        ("<Response><Reject/></Response>", "reject"),
    ],
)
async def test_a_bad_document_ends_the_call_with_its_reason(
    http: aiohttp.ClientSession, gateway: FakeGateway, document: str, complaint: str
) -> None:
    gateway.documents = [document]
    phone = phone_to(http, gateway)
    with pytest.raises(CallOver, match=complaint):
        await phone.dial()
    assert gateway.webhooks[-1]["CallStatus"] == "completed"


async def test_a_gateway_that_redirects_for_ever_is_left(http: aiohttp.ClientSession, gateway: FakeGateway) -> None:
    gateway.documents = ["<Response><Redirect/></Response>"] * 100
    with pytest.raises(CallOver, match="redirected 20 times"):
        await phone_to(http, gateway).dial()


async def test_a_wrong_token_is_refused_and_the_gateways_words_are_told(
    http: aiohttp.ClientSession, gateway: FakeGateway
) -> None:
    phone = Phone(http, Gateway(gateway.url, "wrong"), "+15550100")
    with pytest.raises(CallOver, match="status 403: wrong signature"):
        await phone.dial()
    assert gateway.refused == 1


async def test_another_gateway_answers_when_the_first_does_not(
    http: aiohttp.ClientSession, gateway: FakeGateway
) -> None:
    dead = FakeGateway()
    await dead.start()
    await dead.stop()
    phone = Phone(http, Gateway(dead.url, TOKEN, fallbacks=[gateway.url]), "+15550100")
    await phone.dial()
    await phone.hang_up()
    assert [hook["CallStatus"] for hook in gateway.webhooks] == ["ringing", "completed"]
    assert phone.record.faults == []


async def test_a_message_that_twilio_refuses_closes_the_stream(
    http: aiohttp.ClientSession, gateway: FakeGateway
) -> None:
    async def script(stream: Stream) -> None:
        await stream.socket.send_json({"event": "media", "streamSid": "MZwrong", "media": {"payload": ""}})

    gateway.script = script
    gateway.documents = [gateway.connect(), "<Response><Hangup/></Response>"]
    phone = phone_to(http, gateway)
    await phone.dial()
    await finished(phone)
    assert phone.record.faults == ["media: streamSid 'MZwrong' is not that of this stream"]


async def test_a_stream_that_does_not_open_is_a_fault_and_the_call_goes_on(
    http: aiohttp.ClientSession, gateway: FakeGateway
) -> None:
    nowhere = gateway.connect().replace("/twilio/media", "/nowhere")
    gateway.documents = [nowhere]
    phone = phone_to(http, gateway)
    await phone.dial()
    await phone.hang_up()
    assert phone.record.streams == 1
    assert len(phone.record.faults) == 1 and "/nowhere" in phone.record.faults[0]


async def test_hanging_up_twice_is_no_error(http: aiohttp.ClientSession, gateway: FakeGateway) -> None:
    phone = phone_to(http, gateway)
    await phone.dial()
    await phone.hang_up()
    await phone.hang_up()
    assert [hook["kind"] for hook in gateway.webhooks] == ["voice", "status"]
