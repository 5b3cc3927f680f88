"""How long JetStream is asked, and what is asked again."""

import asyncio

import pytest
from nats.errors import NoRespondersError
from nats.js.errors import APIError, BadRequestError, NoStreamResponseError, ServiceUnavailableError

from shared import nats_retry
from shared.bus import Disconnected
from shared.nats_retry import Repeats, once, until_answered


class Server:
    """Answers with each of `answers` in turn."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.attempts: list[int] = []

    async def __call__(self, attempt: int) -> object:
        self.attempts.append(attempt)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.Event().wait()
        return answer


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_retry, "_FIRST_WAIT_S", 0.0)


async def test_what_has_no_answer_is_asked_again() -> None:
    in_process = APIError(code=409, err_code=10158)
    server = Server(
        NoStreamResponseError(),
        NoRespondersError(),
        TimeoutError(),
        ServiceUnavailableError(code=503),
        in_process,
        "yes",
    )
    assert await until_answered("key", server) == "yes"
    assert server.attempts == [0, 1, 2, 3, 4, 5]


async def test_an_attempt_that_hangs_is_given_up() -> None:
    server = Server(None, "yes")
    assert await until_answered("key", server, attempt_s=0.01) == "yes"


async def test_an_answer_is_not_asked_for_again() -> None:
    server = Server(BadRequestError(code=400, err_code=10071))
    with pytest.raises(BadRequestError):
        await until_answered("key", server)


async def test_it_is_asked_for_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_retry, "TOTAL_S", -1.0)
    with pytest.raises(Disconnected, match="key: no answer"):
        await until_answered("key", Server(NoStreamResponseError()))


def test_what_was_sent_again_is_known_and_what_has_no_number_is_not() -> None:
    repeats, first, second = Repeats(), once(), once()
    assert [repeats.has(headers) for headers in (first, second, first, second, {}, {})] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
