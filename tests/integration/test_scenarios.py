"""The scripts that ship, each played in a call of its own: offline, and through the vendors' SDKs.

A ring for each mode, several calls at a time; every script that fails is told with its reasons.
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import yaml

from simulator.commands.scenario import shipped
from simulator.plan import ROOT

AGENTS = ROOT / "agents.yaml"
TIMEOUT_S = 240
MOST_AGAIN = 2
"""So many of the scripts may need a second try, alone."""


async def simulator(*argv: str, agents: Path = AGENTS) -> tuple[Any, bool]:
    """What `python -m simulator … --json` tells, and whether all was right."""
    command = [sys.executable, "-m", "simulator", *argv, "--json"]
    env = os.environ | {"AGENTS_FILE": str(agents)}
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=env, stdout=PIPE, stderr=PIPE)
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


async def play_all(vendors: str, concurrent: int, agents: Path = AGENTS) -> None:
    results, right = await simulator("scenario", "--vendors", vendors, "--concurrent", str(concurrent), agents=agents)
    assert {result["name"] for result in results} == {path.stem for path in shipped()}
    assert right == (not failures(results))
    # The other tests share these cores. What failed beside them must come right by itself.
    failed = {result["name"] for result in results if not result["passed"]}
    assert len(failed) <= MOST_AGAIN, "\n".join(failures(results))
    for path in (path for path in shipped() if path.stem in failed):
        again, _ = await simulator("scenario", "--vendors", vendors, str(path), agents=agents)
        assert not failures(again), "\n".join(failures([*results, *again]))


async def test_every_script_that_ships_passes_offline() -> None:
    await play_all("offline", 4)


async def test_every_script_that_ships_passes_through_the_sdks_with_nova_and_with_flux(tmp_path: Path) -> None:
    agents = yaml.safe_load(AGENTS.read_text())
    agents["agents"]["bella"]["stt"]["model"] = "flux-general-en"
    flux = tmp_path / "agents.yaml"
    flux.write_text(yaml.safe_dump(agents))
    # Side by side: nearly all of it is waiting for people to finish their sentences.
    await asyncio.gather(play_all("standins", 5), play_all("standins", 5, flux))


async def test_words_stop_the_agent_at_once_and_coughs_do_not() -> None:
    figures, right = await simulator("interruptions", "--vendors", "standins", "--count", "2", "--concurrent", "4")
    assert figures["wrong"] == []
    assert figures["interruptions"] == {"made": 2, "confirmed": 2, "answered wrong": 0, "missed": 0}
    coughs = figures["false alarms"]
    assert (coughs["made"], coughs["finished"], coughs["false stops"]) == (2, 2, 0)
    assert coughs["paused"] == coughs["resumed"]
    assert figures["ms"]["clear, platform"]["p50"] > 0
    assert right
