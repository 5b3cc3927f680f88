"""The ElevenLabs voice against a scripted socket: what it sends, and what it makes of odd answers."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from elevenlabs.types import CloseContext, FlushContext, InitializeConnectionMulti, SendTextMulti

from services.tts.provider import Piece
from services.tts.providers.elevenlabs_messages import Answer, read
from services.tts.providers.elevenlabs_voice import MAX_CONTEXTS, ElevenLabsVoice, VoiceLost
from shared.agents import TtsProfile
from shared.audio import bytes_of, duration_ms

REPLY = "One two three. "


class ScriptedSocket:
    """Notes what is sent; the test decides what comes back."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.closed = False
        self._answers: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def send(self, **message: Any) -> None:
        if self.closed:
            raise ConnectionResetError("closed")
        self.sent.append(message)

    def answer(self, **message: Any) -> None:
        self._answers.put_nowait(msgspec.json.encode(message))

    def audio(self, generation: int, ms: int, **alignment: Any) -> None:
        audio = base64.b64encode(b"\x01" * bytes_of(ms)).decode()
        self.answer(audio=audio, contextId=str(generation), **alignment)

    def hang_up(self) -> None:
        self.closed = True
        self._answers.put_nowait(None)

    async def messages(self) -> AsyncIterator[Answer]:
        while (message := await self._answers.get()) is not None:
            yield read(message)

    async def close(self) -> None:
        self.hang_up()


class Studio:
    """A voice, its sockets, and what was heard of it."""

    def __init__(self, speed: float = 1.0) -> None:
        self.sockets: list[ScriptedSocket] = []
        self.connecting = asyncio.Event()
        self.may_connect = asyncio.Event()
        self.may_connect.set()
        self.pieces: asyncio.Queue[Piece] = asyncio.Queue()
        self.failures: asyncio.Queue[Exception] = asyncio.Queue()
        profile = TtsProfile(speed=speed)
        self.voice = ElevenLabsVoice(self.connect, profile, self.pieces.put, self.failures.put_nowait)

    async def connect(self) -> ScriptedSocket:
        if not self.may_connect.is_set():
            self.connecting.set()
            await self.may_connect.wait()
        self.sockets.append(ScriptedSocket())
        return self.sockets[-1]

    @property
    def socket(self) -> ScriptedSocket:
        return self.sockets[-1]

    async def piece(self) -> Piece:
        return await asyncio.wait_for(self.pieces.get(), 5)

    async def failure(self) -> Exception:
        return await asyncio.wait_for(self.failures.get(), 5)


def messages(socket: ScriptedSocket, model: type[Any], *, having: str) -> list[Any]:
    """The messages with the key `having`, read by the vendor's own model, which must know all their keys."""
    found = [message for message in socket.sent if having in message]
    assert all(set(message) <= set(model.model_fields) for message in found)
    return [model.model_validate(message) for message in found]


async def test_a_reply_is_one_context_in_the_vendors_own_words() -> None:
    studio = Studio()
    await studio.voice.start()
    await studio.voice.speak(7, "One two ")
    await studio.voice.speak(7, "three.")
    await studio.voice.end(7)
    first, *texts = messages(studio.socket, SendTextMulti, having="text")
    assert InitializeConnectionMulti.model_validate(studio.socket.sent[0]).text == first.text == " "
    assert [text.text for text in texts] == ["One two ", "three. "]
    assert [flush.flush for flush in messages(studio.socket, FlushContext, having="flush")] == [True]
    assert [close.close_context for close in messages(studio.socket, CloseContext, having="close_context")] == [True]
    assert {message["context_id"] for message in studio.socket.sent} == {"7"}
    await studio.voice.close()


@pytest.mark.parametrize(("speed", "sent"), [(1.0, None), (1.1, 1.1), (0.5, 0.7), (2.0, 1.2)])
async def test_the_speed_is_told_at_the_start_of_each_context_within_the_vendors_limits(
    speed: float, sent: float | None
) -> None:
    studio = Studio(speed)
    await studio.voice.start()
    await studio.voice.speak(1, REPLY)
    settings = [message.get("voice_settings") for message in studio.socket.sent]
    assert settings == [None if sent is None else {"speed": sent}, None]
    await studio.voice.close()


async def test_nothing_is_sent_for_a_reply_without_text() -> None:
    studio = Studio()
    await studio.voice.start()
    await studio.voice.speak(1, " ")
    await studio.voice.end(1)
    assert await studio.piece() == Piece(1, b"", " ", last=True)
    assert studio.socket.sent == []
    await studio.voice.close()


async def test_audio_without_times_still_says_the_whole_reply() -> None:
    studio = Studio()
    await studio.voice.start()
    await studio.voice.speak(1, REPLY)
    await studio.voice.end(1)
    studio.socket.audio(1, 300, alignment=None, normalizedAlignment=None)
    studio.socket.audio(1, 150)
    studio.socket.answer(isFinal=True, contextId="1")
    pieces = [await studio.piece() for _ in range(4)]
    assert [len(piece.mulaw) for piece in pieces] == [1200, 1200, 1200, 0]
    assert "".join(piece.text for piece in pieces) == REPLY
    assert pieces[0].text == ""
    assert [piece.last for piece in pieces] == [False, False, False, True]
    await studio.voice.close()


async def test_words_follow_the_vendors_times() -> None:
    studio = Studio()
    await studio.voice.start()
    await studio.voice.speak(1, REPLY)
    count = len(REPLY)
    times = {"chars": list(REPLY), "charStartTimesMs": [i * 40 for i in range(count)], "charDurationsMs": [40] * count}
    studio.socket.audio(1, 600, alignment=times)
    pieces = [await studio.piece() for _ in range(3)]
    assert [(duration_ms(piece.mulaw), piece.text) for piece in pieces] == [
        (120, "One "),
        (160, "two "),
        (320, "three. "),
    ]
    await studio.voice.close()


async def test_audio_that_was_held_back_comes_with_the_last_piece() -> None:
    studio = Studio()
    await studio.voice.start()
    await studio.voice.speak(1, "Wonderful. ")
    times = {"chars": ["W", "o"], "charStartTimesMs": [0, 40], "charDurationsMs": [40, 40]}
    studio.socket.audio(1, 80, alignment=times)
    studio.socket.answer(isFinal=True, contextId="1")
    await studio.voice.end(1)
    assert await studio.piece() == Piece(1, b"\x01" * bytes_of(80), "Wonderful. ", last=True)
    await studio.voice.close()


async def test_a_context_that_the_vendor_ended_in_a_pause_is_opened_again() -> None:
    studio = Studio()
    await studio.voice.start()
    await studio.voice.speak(1, "One ")
    studio.socket.audio(1, 100)
    await studio.piece()
    studio.socket.answer(isFinal=True, contextId="1")
    studio.socket.audio(9, 100)
    await studio.voice.speak(2, "Meanwhile. ")
    studio.socket.audio(2, 100)
    assert (await studio.piece()).generation == 2
    await studio.voice.speak(1, "two ")
    assert [message["text"] for message in studio.socket.sent if message["context_id"] == "1"] == [
        " ",
        "One ",
        " ",
        "two ",
    ]
    await studio.voice.close()


async def test_contexts_that_are_slow_to_end_never_exceed_the_limit() -> None:
    studio = Studio()
    await studio.voice.start()
    for generation in range(1, MAX_CONTEXTS + 2):
        await studio.voice.speak(generation, REPLY)
        await studio.voice.end(generation)
        await studio.voice.cancel(generation + 1)
    used = [{message["context_id"] for message in socket.sent} for socket in studio.sockets]
    assert [len(contexts) for contexts in used] == [MAX_CONTEXTS, 1]
    assert studio.failures.empty()
    await studio.voice.close()


async def test_a_cancel_closes_each_context_once() -> None:
    studio = Studio()
    await studio.voice.start()
    await studio.voice.speak(1, REPLY)
    await studio.voice.speak(2, REPLY)
    await studio.voice.end(2)
    await studio.voice.speak(3, REPLY)
    await studio.voice.cancel(3)
    await studio.voice.cancel(3)
    closed = [message["context_id"] for message in studio.socket.sent if message.get("close_context")]
    assert closed == ["2", "1"]
    await studio.voice.close()


async def test_a_reply_cancelled_while_a_socket_opens_is_never_sent() -> None:
    studio = Studio()
    await studio.voice.start()
    studio.socket.hang_up()
    studio.may_connect.clear()
    speaking = asyncio.create_task(studio.voice.speak(1, REPLY))
    await asyncio.wait_for(studio.connecting.wait(), 5)
    await studio.voice.cancel(2)
    studio.may_connect.set()
    await speaking
    assert [socket.sent for socket in studio.sockets] == [[], []]
    await studio.voice.close()


async def test_a_context_that_ended_makes_room() -> None:
    studio = Studio()
    await studio.voice.start()
    for generation in range(1, 2 * MAX_CONTEXTS):
        await studio.voice.speak(generation, REPLY)
        await studio.voice.end(generation)
        studio.socket.answer(isFinal=True, contextId=str(generation))
        assert (await studio.piece()).last
    assert len(studio.sockets) == 1
    await studio.voice.close()


async def test_an_error_of_the_vendor_is_reported_once_with_its_reason() -> None:
    studio = Studio()
    await studio.voice.start()
    await studio.voice.speak(1, REPLY)
    studio.socket.answer(message="Quota exceeded", error="quota_exceeded", code=1008)
    studio.socket.hang_up()
    failure = await studio.failure()
    assert isinstance(failure, VoiceLost)
    assert "quota_exceeded" in str(failure)
    await studio.voice.speak(1, REPLY)
    await studio.voice.end(1)
    assert studio.failures.empty()
    await studio.voice.close()


async def test_a_socket_closed_in_a_silence_is_opened_again_for_the_next_reply() -> None:
    studio = Studio()
    await studio.voice.start()
    studio.socket.answer(message="no input", error="input_timeout_exceeded", code=1008)
    studio.socket.hang_up()
    await studio.voice.speak(1, REPLY)
    assert len(studio.sockets) == 2
    assert [message["text"] for message in studio.socket.sent] == [" ", REPLY]
    assert studio.failures.empty()
    await studio.voice.close()


async def test_a_message_that_nobody_understands_fails_the_voice() -> None:
    studio = Studio()
    await studio.voice.start()
    await studio.voice.speak(1, REPLY)
    studio.socket.answer(audio="not base64!", contextId="1")
    assert isinstance(await studio.failure(), msgspec.DecodeError)
    await studio.voice.close()
