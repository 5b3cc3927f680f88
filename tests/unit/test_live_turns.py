"""A call's turn-taking changes during the call."""

import json

import pytest
import structlog.testing

from shared.call import Call
from shared.channel import CallChannel
from shared.live_turns import LiveTurns
from shared.memory_bus import MemoryBus
from shared.turn_taking import TurnProfile
from tests.fakes import profile


class Following:
    """Somebody who follows the changes of one call."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.call = Call(profile(), CallChannel(self.bus, "CA1", "stt", 1))
        self.changes: list[TurnProfile] = []
        self.turns = LiveTurns(self.call, self.changes.append)

    async def publish(self, turns: object) -> None:
        """As a person with the nats CLI does."""
        await self.bus.publish("call.CA1.turns", json.dumps({"turns": turns}).encode())
        await self.bus.settle()


async def test_what_is_named_changes_and_the_rest_stays() -> None:
    following = Following()
    await following.turns.listen()
    before = following.turns.profile
    await following.publish({"barge_in": {"min_words": 5}, "patience_ms": 900})
    await following.publish({"barge_in": {"enabled": False}})
    now = following.turns.profile
    assert (now.barge_in.min_words, now.barge_in.enabled, now.patience_ms) == (5, False, 900)
    assert now.barge_in.min_speech_ms == before.barge_in.min_speech_ms
    assert following.changes[-1] == now
    assert len(following.changes) == 2


@pytest.mark.parametrize(
    ("turns", "place"),
    [
        ({"barge_in": {"min_words": 0}}, "barge_in.min_words"),
        ({"barge_in": {"min_wrods": 2}}, "barge_in.min_wrods"),
        ({"silence": "long"}, "silence"),
        ({"patience_ms": 900, "endpointing_ms": None}, "endpointing_ms"),
    ],
)
async def test_what_cannot_be_used_changes_nothing_and_is_said(turns: object, place: str) -> None:
    following = Following()
    await following.turns.listen()
    before = following.turns.profile
    with structlog.testing.capture_logs() as logs:
        await following.publish(turns)
    assert following.turns.profile == before
    assert following.changes == []
    assert [(log["event"], log["log_level"], log["place"]) for log in logs] == [("turns_not_changed", "warning", place)]
