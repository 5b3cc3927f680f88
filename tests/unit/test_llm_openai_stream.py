"""The server-sent events of OpenAI's answers, however they arrive."""

import pytest

from services.llm.providers.openai_stream import Events

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
