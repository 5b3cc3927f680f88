"""Audio on its way from the broker, without a broker: the same comes out as of nats-py's own parser."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.errors import ProtocolError
from nats.protocol.parser import Parser
from structlog.testing import capture_logs

from shared.nats_inlet import Inlet

NOTED = ("_process_ping", "_process_pong", "_process_info", "_process_err", "_error_cb")
UNSENT = ("_send_command", "_flush_pending")


class Connection:
    """A client that notes in order what is made of what it reads."""

    def __init__(self) -> None:
        self.came: list[tuple[object, ...]] = []
        self.client = Client()
        for name in NOTED:
            setattr(self.client, name, partial(self._note, name))
        for name in UNSENT:
            setattr(self.client, name, self._ignore)
        self.inlet = Inlet(self.client)

    async def _note(self, *what: object) -> None:
        self.came.append(tuple(map(repr, what)))

    async def _ignore(self, *what: object) -> None:
        return None

    def hear(self, subject: str, payload: bytes) -> None:
        assert type(payload) is bytes
        self.came.append((subject, payload))

    async def read(self, data: bytes) -> type[Exception] | None:
        """Take one read; returns what it would end the connection with."""
        try:
            await self.client._ps.parse(data)
        except ProtocolError as error:
            return type(error)
        return None

    @property
    def state(self) -> object:
        parser, subscriptions = self.client._ps, self.client._subs.values()
        received = [(subscription._id, subscription._received) for subscription in subscriptions]
        return self.came, self.client.stats, received, parser.state, bytes(parser.buf)


async def opened() -> Connection:
    """Listens with the ids 1 and 2, and with 3 for two frames only; 4 is none of its own."""
    connection = Connection()
    for number in (1, 2, 3):
        await connection.inlet.subscribe(f"call.c{number}.audio.in", connection.hear)
    connection.client._subs[3]._max_msgs = 2
    return connection


def frame(sid: int, payload: bytes, between: str = " ", reply: str = "", headers: bytes = b"") -> bytes:
    sizes = [str(len(headers)), str(len(headers + payload))] if headers else [str(len(payload))]
    words = ["HMSG" if headers else "MSG", f"call.c{sid}.audio.in", str(sid), *([reply] if reply else []), *sizes]
    return between.join(words).encode() + b"\r\n" + headers + payload + b"\r\n"


PAYLOADS = st.binary(max_size=20) | st.sampled_from([b"\r\n", b"PING\r\n", frame(1, b"within"), bytes(400)])
HEADERS = st.sampled_from([b"NATS/1.0\r\na: b\r\n\r\n", b"NATS/1.0\r\n\r\n", b"NATS/1.0 503\r\n\r\n"])
SIDS = st.integers(1, 4)
PLAIN = st.builds(frame, SIDS, PAYLOADS)
COMMANDS = st.one_of(
    PLAIN,
    PLAIN,
    st.builds(frame, SIDS, PAYLOADS, st.sampled_from(["  ", "\t"])),
    st.builds(frame, SIDS, PAYLOADS, reply=st.just("_INBOX.a")),
    st.builds(frame, SIDS, PAYLOADS, headers=HEADERS),
    st.sampled_from([b"PING\r\n", b"PONG\r\n", b"+OK\r\n", b"-ERR 'Stale'\r\n", b'INFO {"max_payload": 9}\r\n']),
)
WRONG = st.sampled_from(
    [
        b"MSG call.c1.audio.in one 2\r\nhi\r\n",
        b"MSG call.c1.audio.in 1 2 \r\nhi\r\n",
        b"MSG call.c1.audio.in 1 -2\r\nhi\r\n",
        b"MSG call.c1.audio.in 1 2\nhi\r\n",
        b"MSG call.c1.audio.in 1\r\n",
        b"MSG 1 2\r\n",
        b"msg call.c1.audio.in 1 2\r\nhi\r\n",
        b"MSG call.c1.audio.in 1 " + b"9" * 10 + b"\r\n",
        b"MSG call.c1.audio.in 1 " + b"9" * 5000 + b"\r\n",
        b"\r\n",
    ]
)
STREAMS = st.builds(lambda commands: b"".join(commands), st.lists(COMMANDS, max_size=12) | st.lists(COMMANDS | WRONG))
CUTS = st.lists(st.integers(0, 2000), max_size=12)


def chopped(stream: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[start:end] for start, end in pairwise(places)]


@given(st.lists(st.tuples(STREAMS, CUTS), min_size=1, max_size=3))
@example([(frame(1, b"one") + b"PING\r\n" + frame(2, b"two") * 2, [30, 62])])
async def test_the_same_is_made_of_any_stream_in_any_pieces_as_by_the_librarys_parser(
    streams: list[tuple[bytes, list[int]]],
) -> None:
    ours, theirs = await opened(), await opened()
    theirs.client._ps = Parser(theirs.client)
    for stream, cuts in streams:
        for piece in chopped(stream, cuts):
            error = await ours.read(piece)
            assert error is await theirs.read(piece)
            assert ours.state == theirs.state
            if error is not None:
                break
        # Each stream is a connection of its own, which ends anywhere.
        ours.client._ps.reset()
        theirs.client._ps.reset()


@given(st.lists(st.tuples(st.integers(1, 2), PAYLOADS)), CUTS)
async def test_every_frame_arrives_whole_and_in_order(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    connection = await opened()
    for piece in chopped(b"".join(frame(*one) for one in frames), cuts):
        await connection.client._ps.parse(piece)
    assert connection.came == [(f"call.c{sid}.audio.in", payload) for sid, payload in frames]


@pytest.mark.parametrize("cut", [0, 3, 25, 35])
async def test_a_frame_that_a_handler_refuses_is_no_trouble_of_the_others(cut: int) -> None:
    connection = await opened()

    def refuse(subject: str, payload: bytes) -> None:
        raise ValueError(payload)

    await connection.inlet.subscribe("call.c4.audio.in", refuse)
    stream = frame(4, b"bad") + frame(1, b"good")
    with capture_logs() as logs:
        for piece in (stream[:cut], stream[cut:]):
            await connection.client._ps.parse(piece)
    assert connection.came == [("call.c1.audio.in", b"good")]
    assert [(entry["event"], entry["subject"]) for entry in logs] == [("handler_failed", "call.c4.audio.in")]


async def test_nothing_comes_after_the_end_of_a_subscription_not_even_within_one_read() -> None:
    connection = await opened()

    def hang_up(subject: str, payload: bytes) -> None:
        connection.hear(subject, payload)
        connection.client._remove_sub(4)

    await connection.inlet.subscribe("call.c4.audio.in", hang_up)
    await connection.client._ps.parse(frame(4, b"last") + frame(4, b"late") + frame(1, b"other"))
    assert connection.came == [("call.c4.audio.in", b"last"), ("call.c1.audio.in", b"other")]


async def test_what_came_of_a_command_before_is_read_on() -> None:
    connection = Connection()
    connection.client._ps = Parser(connection.client)
    await connection.client._ps.parse(b"PI")
    Inlet(connection.client)
    await connection.client._ps.parse(b"NG\r\n")
    assert connection.came == [("'_process_ping'",)]


async def test_a_subscription_made_without_the_inlet_is_served_as_ever() -> None:
    connection = await opened()
    connection.client._status = Client.CONNECTED
    subscription = await connection.client.subscribe("call.c4.audio.in")
    await connection.client._ps.parse(frame(4, b"queued") + frame(1, b"at once"))
    assert connection.came == [("call.c1.audio.in", b"at once")]
    assert (await subscription.next_msg()).data == b"queued"
