"""A voice that takes over a reply in its middle."""

from collections.abc import AsyncIterator

import pytest_asyncio

from shared.messages import ReplyOnLine, StageTaken
from tests.unit.test_tts_session import Booth, end, say

TAKEN = StageTaken(leased="tts", worker="tts-2", lease_epoch=2, since=0.0, reply=ReplyOnLine(generation=3))


@pytest_asyncio.fixture
async def successor() -> AsyncIterator[Booth]:
    """A voice that takes over on an open line."""
    made = Booth(greeting="Hello.", line=1)
    await made.session.begin(made.voice)
    yield made
    await made.close()
    await made.bus.close()


async def test_a_voice_that_takes_over_goes_on_in_the_middle(successor: Booth) -> None:
    await successor.gateway.send(TAKEN)
    await successor.send(say(3, "table ", 4), say(3, "for two.", 5), end(3, 6))
    await successor.until_told("end", 3, "")
    assert [text for verb, _, text in successor.voice.told if verb == "speak"] == ["table ", "for two."]
    await successor.deliver(3, 200, "table ")
    await successor.deliver(3, 100, "for two.", last=True)
    assert [(piece.epoch, piece.offset_ms, piece.last) for piece in successor.published] == [
        (2, 0, False),
        (2, 200, True),
    ]


async def test_what_was_sent_live_waits_for_what_comes_before_it(successor: Booth) -> None:
    await successor.send(say(3, "for two", 5), end(3, 7))
    await successor.gateway.send(TAKEN)
    await successor.send(say(3, "le ", 4), say(3, "for two", 5), say(3, "at six.", 6), end(3, 7))
    await successor.until_told("end", 3, "")
    assert [text for verb, _, text in successor.voice.told if verb == "speak"] == ["le ", "for two", "at six."]


async def test_the_end_alone_ends_what_the_line_has_already(successor: Booth) -> None:
    await successor.gateway.send(TAKEN)
    await successor.send(end(3, 6))
    await successor.until_told("end", 3, "")
    await successor.deliver(3, 0, last=True)
    assert [(piece.generation, piece.payload, piece.last) for piece in successor.published] == [(3, b"", True)]


async def test_a_reply_that_begins_waits_for_nothing(successor: Booth) -> None:
    await successor.send(say(4, "One. "), say(4, "Two.", 1), end(4, 2))
    await successor.until_told("end", 4, "")
    assert not successor.session.settled


async def test_a_voice_that_is_not_told_of_the_takeover_speaks_all_the_same(successor: Booth) -> None:
    await successor.send(say(3, "for two.", 5), end(3, 6))
    await successor.until_told("end", 3, "")
    assert successor.session.settled


async def test_on_an_open_line_the_greeting_is_made_only_when_it_is_asked_for(successor: Booth) -> None:
    await successor.gateway.send(TAKEN)
    await successor.until_settled()
    assert successor.voice.told == []
    await successor.send(say(1, "Hello.", turn_id=0), end(1, turn_id=0))
    await successor.until_told("end", 1, "")
    await successor.deliver(1, 200, "Hello.", last=True)
    assert [(piece.text, piece.last) for piece in successor.published] == [("Hello.", True)]
