"""The stand-ins' behaviour, changed while they run."""

import argparse
from typing import Any

import pytest
from aiohttp import ClientSession

from simulator.commands.standins import add_standins
from simulator.standins.behaviour import Behaviour
from simulator.standins.server import Standins


async def change(standins: Standins, body: str) -> tuple[int, dict[str, Any]]:
    url = f"{standins.url}/standins/behaviour"
    async with ClientSession() as http, http.patch(url, data=body) as response:
        return response.status, await response.json()


async def test_what_is_changed_counts_at_once_and_the_rest_stays() -> None:
    async with Standins(Behaviour(stt_turn_ms=500)) as standins, ClientSession() as http:
        asked: dict[str, Any] = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "goodbye"}]}
        key = {"Authorization": "Bearer stand-in"}
        for fault, status in (("500", 500), ("429", 429), ("", 200)):
            assert (await change(standins, f'{{"llm_fault": "{fault}"}}'))[0] == 200
            async with http.post(f"{standins.url}/v1/chat/completions", json=asked, headers=key) as response:
                assert response.status == status
                assert response.headers.get("Retry-After") == ("1" if status == 429 else None)
        async with http.get(f"{standins.url}/standins/behaviour") as response:
            assert await response.json() == Behaviour(stt_turn_ms=500).model_dump()
        assert await change(standins, '{"llm_token_ms": 7, "tts_fault": "drop"}') == (
            200,
            Behaviour(stt_turn_ms=500, llm_token_ms=7, tts_fault="drop").model_dump(),
        )
        assert standins.behaviour.llm_token_ms == 7


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "body"),
        ("{", "body"),
        ("[]", "body"),
        ('{"flavour": 1}', "flavour"),
        ('{"llm_fault": "300"}', "llm_fault"),
        ('{"llm_token_ms": 1, "stt_turn_ms": -1}', "stt_turn_ms"),
    ],
)
async def test_a_change_that_is_wrong_changes_nothing_and_says_why(body: str, reason: str) -> None:
    async with Standins() as standins:
        status, answer = await change(standins, body)
        assert status == 400
        assert answer["error"].startswith(f"{reason}: ")
        assert standins.behaviour == Behaviour()


def test_each_field_is_an_option_and_a_fault_is_one_of_those_that_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_standins(parser)
    asked = parser.parse_args(["--llm-fault", "500", "--llm-fault-tokens", "3", "--tts-voice", "telegraph"])
    assert (asked.llm_fault, asked.llm_fault_tokens, asked.tts_fault) == ("500", 3, "")
    assert (asked.tts_voice, parser.parse_args([]).tts_voice) == ("telegraph", "espeak")
    with pytest.raises(SystemExit):
        parser.parse_args(["--stt-fault", "300"])
    assert "choose from '', 'hang', '429'" in capsys.readouterr().err
