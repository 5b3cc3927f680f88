"""The server-sent events of OpenAI's answers, however they arrive."""

import httpx2
import msgspec
import openai
import pytest

from services.llm.providers.openai_stream import Chunk, Chunks, Events

STREAM = (
    b": a comment\n\n"
    b'data: {"text": "Good day, \xc3\xa9t\xc3\xa9"}\n\n'
    b"event: message\r\nid: 7\r\ndata:no blank\r\n\r\n"
    b"data: two\ndata: lines\n\n"
    b"\n"
    b"data: [DONE]\n\n"
    b"data: never completed\n"
)
EVENTS = ['{"text": "Good day, été"}'.encode(), b"no blank", b"two\nlines", b"[DONE]"]


def test_the_data_of_all_complete_events_is_read() -> None:
    assert list(Events().feed(STREAM)) == EVENTS


@pytest.mark.parametrize("size", range(1, 40))
def test_an_event_may_arrive_in_parts(size: int) -> None:
    events = Events()
    parts = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    assert [event for part in parts for event in events.feed(part)] == EVENTS


def test_an_event_is_read_as_soon_as_it_is_complete() -> None:
    events = Events()
    assert list(events.feed(b"data: one\n")) == []
    assert list(events.feed(b"\nda")) == [b"one"]
    assert list(events.feed(b"ta: two\n\n")) == [b"two"]


def answer(body: bytes) -> Chunks:
    """An answer that arrives at once."""
    response = httpx2.Response(200, content=body, request=httpx2.Request("POST", "http://vendor"))
    return Chunks(cast_to=list[Chunk], response=response, client=openai.AsyncOpenAI(api_key="sk-test"))


def texts(chunks: list[Chunk]) -> list[str | None]:
    return [choice.delta.content for chunk in chunks for choice in chunk.choices or ()]


GOOD, DAY = (b'data: {"choices": [{"delta": {"content": "%b"}}]}\n\n' % text for text in (b"Good", b" day"))


async def test_what_arrives_together_is_read_together() -> None:
    assert [texts(chunks) async for chunks in answer(GOOD + DAY + b"data: [DONE]\n\n" + GOOD)] == [["Good", " day"]]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (b'{"error": {"message": "overloaded"}}', openai.APIError),
        (b"{oops", msgspec.DecodeError),
        (b"{}", ValueError),
    ],
)
async def test_what_arrives_together_with_an_error_is_read_before(wrong: bytes, error: type[Exception]) -> None:
    stream = aiter(answer(GOOD + DAY + b"data: %b\n\n" % wrong + GOOD))
    assert texts(await anext(stream)) == ["Good", " day"]
    with pytest.raises(error):
        await anext(stream)
