"""`make call`: the whole system as real processes, one conversation, and nothing left behind."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import psutil

from simulator.plan import ROOT


def recordings(folder: Path) -> list[tuple[Path, int]]:
    return [(path, path.stat().st_size) for path in folder.glob("*.wav")]


async def simulator(*argv: str) -> Process:
    command = [sys.executable, "-m", "simulator", *argv]
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE, stderr=PIPE)


async def test_a_demo_is_understood_answered_recorded_and_cleared_away(tmp_path: Path) -> None:
    process = await simulator("demo", "--say", "what are your opening hours", "--out", str(tmp_path))
    out, progress = (text.decode() for text in await asyncio.wait_for(process.communicate(), 120))
    assert process.returncode == 0, out + progress
    assert " agent: Bella Trattoria, good day! How can I help you?" in out
    assert "caller: what are your opening hours" in out
    assert " agent: We are open from noon until eleven at night, every day of the week." in out
    assert "ms by ear: endpointing" in out
    assert "1 of 1 turns answered right" in out
    assert "nats ready" in progress and "tts ready" in progress
    [(recording, size)] = recordings(tmp_path)
    assert size > 8000 * 4 * 5
    assert str(recording) in out


async def test_a_demo_that_is_interrupted_leaves_no_process(tmp_path: Path) -> None:
    process = await simulator("demo", "--out", str(tmp_path))
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            while not (line := await process.stderr.readline()).startswith(b"calling"):
                assert line, "the demo ended"
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 5
    finally:
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 130
    assert not [child for child in children if child.is_running()]
