"""The simulated carrier's media socket against peers that behave badly."""

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable

import pytest
import trustme

from shared.audio import FRAME_BYTES
from simulator import line as media
from simulator.line import Line
from simulator.playback import Playback
from simulator.wire import BadMessage
from tests.integration.raw_peer import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Peer, RawServer

SIDS = ("AC" + "0" * 32, "CA" + "1" * 32)
Script = Callable[[Peer], Awaitable[None]]


async def connect(url: str) -> Line:
    return await media.connect(url, "signed", SIDS, {"token": "t"})


async def begun(peer: Peer) -> str:
    """Accept the stream and read its beginning; its id."""
    peer.upgrade()
    first, start = [json.loads((await peer.read())[1]) for _ in range(2)]
    assert (first["event"], start["event"], start["start"]["customParameters"]) == (
        "connected",
        "start",
        {"token": "t"},
    )
    return str(start["streamSid"])


def message(sid: str, event: str, **body: object) -> bytes:
    return json.dumps({"event": event, "streamSid": sid, **body}).encode()


async def heard(script: Script) -> Playback:
    """What a line plays of what `script` sends, until the socket closes."""
    async with RawServer(script) as server, asyncio.timeout(10):
        line, playback = await connect(server.url), Playback(time.monotonic())
        try:
            await line.receive(playback, time.monotonic, lambda: None)
        finally:
            await line.close()
    return playback


async def until_gone(peer: Peer, *, dead: bool = False) -> list[int]:
    """Read until the carrier is gone; the kinds of frames that came. A close is answered, unless `dead`."""
    kinds = []
    try:
        while True:
            kinds.append((await peer.read())[0])
            if kinds[-1] == CLOSE and not dead:
                peer.send(b"", CLOSE)
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return kinds


async def test_the_handshake_is_signed_and_frames_are_numbered_text() -> None:
    seen = asyncio.get_running_loop().create_future()

    async def script(peer: Peer) -> None:
        await begun(peer)
        frames = [await peer.read() for _ in range(2)]
        seen.set_result((peer.headers["x-twilio-signature"], frames))
        await until_gone(peer)

    async with RawServer(script) as server, asyncio.timeout(10):
        line = await connect(server.url)
        line.send_frame(b"\x10" * FRAME_BYTES)
        line.send_frame(b"\x11" * FRAME_BYTES)
        signature, frames = await seen
        await line.close()
    assert signature == "signed"
    assert [kind for kind, _ in frames] == [TEXT, TEXT]
    assert [json.loads(text)["media"]["chunk"] for _, text in frames] == ["1", "2"]


async def test_what_came_before_anybody_listened_is_played() -> None:
    sent = asyncio.Event()

    async def script(peer: Peer) -> None:
        sid = await begun(peer)
        peer.send(message(sid, "media", media={"payload": "EBAQ"}))
        peer.send(message(sid, "mark", mark={"name": "m"}))
        sent.set()
        assert json.loads((await peer.read())[1])["mark"]["name"] == "m"
        peer.send(b"", CLOSE)

    async with RawServer(script) as server, asyncio.timeout(10):
        line = await connect(server.url)
        await sent.wait()
        while not line._early:
            await asyncio.sleep(0)
        playback = Playback(time.monotonic())
        await line.receive(playback, time.monotonic, lambda: None)
        await line.close()
    assert len(playback.pieces) == 1


async def test_a_message_in_fragments_is_one_message_and_a_ping_between_them_is_answered() -> None:
    async def script(peer: Peer) -> None:
        text = message(await begun(peer), "media", media={"payload": "EBAQ"})
        for _ in range(2):
            peer.send(text[:9], TEXT, fin=False)
            peer.send(b"?", PING)
            assert await peer.read() == (PONG, b"?")
            peer.send(text[9:20], CONTINUATION, fin=False)
            peer.send(text[20:], CONTINUATION)
        peer.send(b"", CLOSE)
        await until_gone(peer)

    assert [round((piece.end - piece.start) * 8000) for piece in (await heard(script)).pieces] == [3, 3]


@pytest.mark.parametrize(
    ("payload", "kind", "complaint"),
    [
        (b"\x00", BINARY, "a text message was expected, not BINARY"),
        (b"{", TEXT, "truncated"),
        (b'{"event":"\xff"}', TEXT, "utf-8"),
        (b'{"event":"clear","streamSid":"MZ9"}', TEXT, "not that of this stream"),
        (b"", 3, "opcode"),
    ],
)
async def test_what_twilio_refuses_ends_the_stream_and_nothing_after_it_is_played(
    payload: bytes, kind: int, complaint: str
) -> None:
    played: list[Playback] = []

    async def script(peer: Peer) -> None:
        sid = await begun(peer)
        peer.send(payload, kind)
        peer.send(message(sid, "media", media={"payload": "EBAQ"}))
        await until_gone(peer)

    async with RawServer(script) as server, asyncio.timeout(10):
        line, playback = await connect(server.url), Playback(time.monotonic())
        with pytest.raises(BadMessage, match=complaint):
            await line.receive(playback, time.monotonic, lambda: played.append(playback))
        await line.close()
    assert played == [] and playback.pieces == []


async def test_too_large_a_message_is_refused_in_one_piece_or_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "_MAX_MESSAGE", 100)

    async def whole(peer: Peer) -> None:
        await begun(peer)
        peer.send(b" " * 101)
        await until_gone(peer)

    async def parts(peer: Peer) -> None:
        await begun(peer)
        peer.send(b" " * 60, TEXT, fin=False)
        peer.send(b" " * 60, CONTINUATION, fin=False)
        await until_gone(peer)

    for script in (whole, parts):
        with pytest.raises(BadMessage, match=r"exceeding|more than 100 bytes"):
            await heard(script)


async def test_a_close_is_answered_and_a_connection_that_breaks_ends_the_stream() -> None:
    kinds: list[int] = []

    async def closes(peer: Peer) -> None:
        await begun(peer)
        peer.send(b"\x03\xe8", CLOSE)
        kinds.extend(await until_gone(peer))

    async def breaks(peer: Peer) -> None:
        await begun(peer)

    assert (await heard(closes)).pieces == (await heard(breaks)).pieces == []
    assert kinds == [CLOSE]


async def test_what_is_said_to_a_gateway_that_has_just_closed_is_no_error() -> None:
    async def script(peer: Peer) -> None:
        await begun(peer)
        peer.send(b"", CLOSE)
        await until_gone(peer)

    async with RawServer(script) as server, asyncio.timeout(10):
        line = await connect(server.url)
        await line.receive(Playback(0.0), time.monotonic, lambda: None)
        line.send_frame(b"\x10" * FRAME_BYTES)
        await line.close()
        line.send_frame(b"\x10" * FRAME_BYTES)
        line.stop()
        line.abort()
        await line.close()


async def test_a_dead_gateway_does_not_keep_a_closing_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "_CLOSE_S", 0.05)
    gone = asyncio.get_running_loop().create_future()

    async def script(peer: Peer) -> None:
        await begun(peer)
        gone.set_result(await until_gone(peer, dead=True))

    async with RawServer(script) as server, asyncio.timeout(10):
        line = await connect(server.url)
        line.stop()
        await line.close()
        assert await gone == [TEXT, CLOSE]


async def test_abort_resets_the_connection() -> None:
    ended = asyncio.get_running_loop().create_future()

    async def script(peer: Peer) -> None:
        await begun(peer)
        try:
            await peer.read()
        except (asyncio.IncompleteReadError, ConnectionResetError) as error:
            ended.set_result(type(error))

    async with RawServer(script) as server, asyncio.timeout(10):
        line = await connect(server.url)
        hearing = asyncio.create_task(line.receive(Playback(0.0), time.monotonic, lambda: None))
        line.abort()
        assert await ended is ConnectionResetError
        await hearing
        await line.close()


async def test_a_gateway_that_does_not_shake_hands_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "HANDSHAKE_S", 0.05)

    async def silent(peer: Peer) -> None:
        await until_gone(peer)

    async with RawServer(silent) as server, asyncio.timeout(4):
        with pytest.raises(TimeoutError):
            await connect(server.url)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", b"SMTP\r\n\r\n"])
async def test_a_refused_stream_is_an_error_of_the_connection(answer: bytes) -> None:
    async def refuses(peer: Peer) -> None:
        peer.writer.write(answer)

    async with RawServer(refuses) as server, asyncio.timeout(10):
        with pytest.raises(ConnectionError):
            await connect(server.url)


@pytest.mark.parametrize(("url", "complaint"), [("http://localhost/media", "scheme"), ("ws://localhost:x/", "[Pp]ort")])
async def test_a_url_that_is_none_is_an_error_of_the_connection(url: str, complaint: str) -> None:
    with pytest.raises(ConnectionError, match=complaint):
        await connect(url)


async def test_a_stream_may_be_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    authority, server_tls = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_tls)
    trusting, gone = ssl.create_default_context(), asyncio.get_running_loop().create_future()
    authority.configure_trust(trusting)

    async def script(peer: Peer) -> None:
        sid = await begun(peer)
        peer.send(message(sid, "media", media={"payload": "EBAQ"}))
        peer.send(b"", CLOSE)
        gone.set_result(await until_gone(peer))

    async with RawServer(script, server_tls) as server, asyncio.timeout(10):
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(server.url)
        monkeypatch.setattr(media, "_trust", lambda: trusting)
        line, playback = await connect(server.url), Playback(time.monotonic())
        await line.receive(playback, time.monotonic, lambda: None)
        await line.close()
        assert await gone == [CLOSE]
    assert len(playback.pieces) == 1
