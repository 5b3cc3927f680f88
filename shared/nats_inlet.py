"""Audio on its way from the broker: a frame is with its handler when the read that brought it has been parsed.

nats-py's own parser and client build a message of each frame and wake a task of its subscription for it. Audio is too
frequent for that, and its handlers do not wait.
"""

import asyncio
import re

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.protocol.parser import AWAITING_MSG_PAYLOAD, CRLF_SIZE, Parser

from shared.bus import AudioHandler

log = structlog.get_logger()

_PLAIN = re.compile(rb"MSG (\S+) (\d{1,9}) (\d{1,9})\r\n").match
"""A frame's control line: nobody wants an answer to it, and it has no headers."""


class _Ear(asyncio.Future[Msg]):
    """What a subscription without a queue has nats-py hand its messages to: it takes any number of them."""

    def __init__(self, handler: AudioHandler) -> None:
        super().__init__()
        self._handler = handler

    def take(self, subject: str, payload: bytes) -> None:
        try:
            self._handler(subject, payload)
        except Exception as error:
            # The connection is read on for all the others.
            log.error("handler_failed", subject=subject, exc_info=error)

    def set_result(self, result: Msg) -> None:
        self.take(result.subject, result.data)


class Inlet(Parser):
    """Takes the place of one connection's parser.

    Whole frames are handed over at once. Everything else is left to nats-py: other commands, frames that come in
    parts, and frames with which it has more to do. It gives them to the same handlers, so that the order is kept.
    """

    def __init__(self, client: Client) -> None:
        """`client` is connected, and has no subscriptions."""
        super().__init__(client)
        # A part of what the broker tells of its own accord may have come.
        self.buf = client._ps.buf
        self._client = client
        client._ps = self

    async def subscribe(self, subject: str, handler: AudioHandler) -> Subscription:
        """Have `handler` called with each frame, in order. Raises nats.errors.Error."""
        return await self._client.subscribe(subject, future=_Ear(handler))

    async def parse(self, data: bytes = b"") -> None:
        if self.state == AWAITING_MSG_PAYLOAD:
            missing = self.needed + CRLF_SIZE - len(self.buf)
            await super().parse(data[:missing])
            data = data[missing:]
        elif self.buf:
            data = bytes(self.buf) + data
            self.buf.clear()
        rest = data[self._hand_over(data) :]
        if rest:
            await super().parse(rest)

    def _hand_over(self, data: bytes) -> int:
        """Call the handlers of the whole frames that `data` begins with; returns where they end."""
        subscriptions, stats = self._client._subs, self._client.stats
        size, end = len(data), 0
        while (line := _PLAIN(data, end)) is not None:
            subject, sid, length = line.groups()
            start = line.end()
            stop = start + int(length)
            subscription = subscriptions.get(int(sid))
            if stop + CRLF_SIZE > size or subscription is None or subscription._max_msgs:
                break
            ear = subscription._future
            if type(ear) is not _Ear:
                break
            end = stop + CRLF_SIZE
            subscription._received += 1
            stats["in_msgs"] += 1
            stats["in_bytes"] += stop - start
            ear.take(subject.decode(), data[start:stop])
        return end
