"""What whoever waits for a whole system makes of `/ready`."""

import aiohttp
import pytest

from simulator.readiness import asked, whole


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"ready": True}, True),
        ({"ready": True, "missing": []}, True),
        ({"ready": True, "missing": ["stt"]}, False),
        ({"ready": False, "missing": []}, False),
        ({}, False),
    ],
)
def test_a_system_is_whole_when_its_gateway_misses_nothing(state: dict[str, object], expected: bool) -> None:
    assert whole(state) is expected


async def test_who_does_not_answer_says_nothing() -> None:
    async with aiohttp.ClientSession() as http:
        assert await asked(http, "http://127.0.0.1:1") == {}
