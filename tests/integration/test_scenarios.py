"""The scripts that ship, each played in a call of its own: offline, and through the vendors' SDKs.

A ring for each, several calls at a time; every script that fails is told with its reasons.
"""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from typing import Any

import pytest

from simulator.commands.scenario import shipped
from simulator.plan import ROOT

TIMEOUT_S = 240


async def simulator(*argv: str) -> tuple[Any, bool]:
    """What `python -m simulator … --json` tells, and whether all was right."""
    command = [sys.executable, "-m", "simulator", *argv, "--json"]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE, stderr=PIPE)
    try:
        out, progress = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert out, progress.decode()
    assert process.returncode in (0, 1), progress.decode()
    return json.loads(out), process.returncode == 0


def failures(results: list[dict[str, Any]]) -> list[str]:
    """Every script that failed, with its reasons."""
    told = []
    for result in results:
        steps = [f"{step['step']}: {reason}" for step in result["steps"] for reason in step["reasons"]]
        if not result["passed"]:
            told.append("\n  ".join([f"{result['name']} ({result['call_id']})", *steps, *result["faults"]]))
    return told


@pytest.mark.parametrize(("vendors", "concurrent"), [("offline", 4), ("standins", 8)])
async def test_every_script_that_ships_passes(vendors: str, concurrent: int) -> None:
    results, right = await simulator("scenario", "--vendors", vendors, "--concurrent", str(concurrent))
    assert {result["name"] for result in results} == {path.stem for path in shipped()}
    assert not failures(results), "\n".join(failures(results))
    assert right


async def test_words_stop_the_agent_at_once_and_coughs_do_not() -> None:
    figures, right = await simulator("interruptions", "--vendors", "standins", "--count", "2", "--concurrent", "4")
    assert figures["wrong"] == []
    assert figures["interruptions"] == {"made": 2, "confirmed": 2, "answered wrong": 0, "missed": 0}
    coughs = figures["false alarms"]
    assert (coughs["made"], coughs["finished"], coughs["false stops"]) == (2, 2, 0)
    assert coughs["paused"] == coughs["resumed"]
    assert figures["ms"]["clear, platform"]["p50"] > 0
    assert right
