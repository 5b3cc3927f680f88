"""Asking JetStream until it answers: while a cluster elects a leader it is silent or says 503, for seconds at most."""

import asyncio
import random
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import nats.errors
from nats.js.api import Header
from nats.js.errors import APIError, NoStreamResponseError

from shared.bus import Disconnected

T = TypeVar("T")

TOTAL_S = 12.0
"""An operation that was not done in this time has failed. Source: nats-server's raft.go, where a follower that misses
its leader waits for 4 to 9 s before it stands for election; no setting changes that."""
ATTEMPT_S = 1.0
_FIRST_WAIT_S = 0.05
_LONGEST_WAIT_S = 0.5
_REMEMBERED = 1000
_DUPLICATE_IN_PROCESS = 10158
"""Source: JSStreamDuplicateMessageConflict of nats-server; the message is being kept, ask again for its number."""


class Outdated(TimeoutError):
    """A server answered by what it knew before it lost its lead; that is no answer."""


def _passing(error: Exception) -> bool:
    """Whether the same may succeed a moment later."""
    if isinstance(error, APIError):
        return (error.code or 0) >= 500 or error.err_code == _DUPLICATE_IN_PROCESS
    return isinstance(error, (TimeoutError, NoStreamResponseError, nats.errors.NoRespondersError))


def once() -> dict[str, str]:
    """Headers with which JetStream keeps a message once, however often it is sent again within a minute."""
    return {Header.MSG_ID: secrets.token_hex(8)}


class Repeats:
    """What a listener heard already: a message that is sent again reaches those that listen again, too."""

    def __init__(self) -> None:
        """Nothing was heard."""
        self._heard: deque[str] = deque(maxlen=_REMEMBERED)

    def has(self, headers: dict[str, str]) -> bool:
        """Whether the message with these headers was heard before; it is remembered."""
        number = headers.get(Header.MSG_ID)
        if number is None:
            return False
        if number in self._heard:
            return True
        self._heard.append(number)
        return False


async def until_answered(what: str, ask: Callable[[int], Awaitable[T]], attempt_s: float = ATTEMPT_S) -> T:
    """Call `ask` with the number of the attempt, from 0, until JetStream answers. Raises Disconnected.

    An attempt without an answer in `attempt_s` may yet be carried out: `ask` must be safe to repeat. Errors that are
    an answer are raised as they are.
    """
    deadline, attempt, wait_s = time.monotonic() + TOTAL_S, 0, _FIRST_WAIT_S
    while True:
        try:
            async with asyncio.timeout(attempt_s):
                return await ask(attempt)
        except (nats.errors.Error, TimeoutError) as error:
            if not _passing(error):
                raise
            pause_s = wait_s * random.uniform(0.5, 1.0)  # noqa: S311
            if time.monotonic() + pause_s > deadline:
                raise Disconnected(f"{what}: no answer in {TOTAL_S:g} s: {error!r}") from error
        await asyncio.sleep(pause_s)
        attempt, wait_s = attempt + 1, min(2 * wait_s, _LONGEST_WAIT_S)
