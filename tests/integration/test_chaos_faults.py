"""Faults under live calls: the short version of `make chaos`, a call or two for each fault.

Not timed: the silences are bounded loosely, a loaded machine must not fail here.
"""

import asyncio
from pathlib import Path

from shared.agents import load
from simulator.chaos import table
from simulator.chaos.campaign import Campaign
from simulator.chaos.catalogue import chosen
from simulator.chaos.ears import Ears
from simulator.chaos.needs import AGENTS
from simulator.chaos.trial import Trial, cast

_SILENT_S = 10.0
_SEED = 1
_CALLS = 2
_RINGS = 4
_FAULTS = (
    *("stt-kill", "llm-kill", "tts-kill", "gateway-kill", "speech-stop", "broker-restart", "broker-node"),
    # Every process drains.
    "rolling",
    # How each provider takes each fault, and each stage each end of its worker, is tested with the stages.
    *("stt-provider-garbage", "llm-provider-500", "tts-provider-drop"),
)


async def trials(folder: Path) -> list[Trial]:
    """All faults; those that need the same system share a few, which run side by side."""
    casts = {agent.name: await asyncio.to_thread(cast, agent, _CALLS, _SEED) for agent in load(AGENTS).agents}
    with Ears() as ears:
        campaign = Campaign(casts, ears, _SEED, folder, lambda text: None, lambda trial: None)
        return await campaign.run(chosen(_FAULTS), _RINGS)


async def test_calls_go_on_under_every_fault(tmp_path: Path) -> None:
    results = await trials(tmp_path)
    wrong = [remark for trial in results if not trial.right for remark in table.remarks(trial)]
    assert wrong == []
    silences = {trial.name: max(call.silence_ms for call in trial.calls) for trial in results}
    assert {name: ms for name, ms in silences.items() if ms > _SILENT_S * 1000} == {}
