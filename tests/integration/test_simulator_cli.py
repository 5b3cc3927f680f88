"""The command line: what is wrong use, and what each end is called."""

import asyncio
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest

from shared.audio import SILENCE
from shared.pcm import write_wav
from simulator.__main__ import parser
from simulator.commands.options import WrongUse
from simulator.plan import ROOT

NOWHERE = ["--url", "http://127.0.0.1:9", "--token", "t"]


def recordings(folder: Path) -> list[Path]:
    return list(folder.rglob("*.wav"))


async def run(*argv: str) -> int:
    args = parser().parse_args(argv)
    status: int = await args.run(args)
    return status


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["call", "--url", "ftp://host"], "--url: http"),
        (["call", *NOWHERE, "--wpm", "5"], "--wpm"),
        (["call", *NOWHERE, "--say", " "], "nothing to say"),
        (["call", *NOWHERE, "--say", "hello", "--voice", "nobody"], "no voice 'nobody'"),
        (["call", *NOWHERE, "--file", "none.wav"], "none.wav"),
        (["call", *NOWHERE, "--nats", "nats://127.0.0.1:9"], "--nats: "),
        (["call", *NOWHERE, "--standins", "http://127.0.0.1:9"], "--standins http://127.0.0.1:9: "),
        (["call", *NOWHERE, "--standins", "nonsense"], "--standins nonsense: "),
        (["load", *NOWHERE, "--calls", "0"], "--calls"),
        (["load", *NOWHERE, "--concurrent", "0"], "--concurrent"),
        (["load", "--workers", "fax=2"], "--workers fax=2"),
        (["load", "--workers", "stt=none"], "--workers stt=none"),
        (["scenario", "none.yaml"], "none.yaml: No such file"),
        (["scenario", "goodbye", "--concurrent", "0"], "--concurrent"),
        (["scenario", "goodbye", "--wpm", "5"], "--wpm"),
        (["scenario", "goodbye", "--voice", "nobody"], "no voice 'nobody'"),
        (["interruptions", "--count", "0"], "--count"),
        (["interruptions", "--until-ms", "10"], "--until-ms"),
        (["interruptions", "--voice", "nobody"], "no voice 'nobody'"),
        (["standins", "--stt-final-ms", "-1"], "stt_final_ms"),
        (["standins", "--scenario", "nothing"], "nothing.yaml"),
    ],
)
async def test_wrong_use_says_what_is_wrong(argv: Sequence[str], complaint: str) -> None:
    with pytest.raises(WrongUse) as wrong:
        await run(*argv)
    assert complaint in str(wrong.value)


async def test_a_file_without_sound_is_wrong_use(tmp_path: Path) -> None:
    write_wav(tmp_path / "silent.wav", SILENCE * 8000, b"")
    with pytest.raises(WrongUse, match="nothing can be heard"):
        await run("call", *NOWHERE, "--file", str(tmp_path / "silent.wav"))


async def test_an_agents_file_that_cannot_be_read_is_wrong_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTS_FILE", "none.yaml")
    with pytest.raises(WrongUse, match=r"none\.yaml"):
        await run("call", *NOWHERE)


async def test_the_scripts_that_ship_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert await run("scenario", "--list") == 0
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert told["goodbye"] == "The agent hangs up when the conversation is complete"
    assert len(told) >= 12


@pytest.mark.parametrize("command", [["scenario", "goodbye"], ["interruptions", "--count", "1"]])
async def test_what_is_judged_by_the_platforms_words_needs_its_broker(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NATS_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WrongUse, match="the broker of the system: --nats"):
        await run(*command, "--url", "http://gateway.invalid", "--token", "t")


async def test_a_script_for_an_agent_that_nobody_can_call_is_wrong_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents, script = tmp_path / "agents.yaml", tmp_path / "call.yaml"
    agents.write_text("default: anna\nagents: {anna: {numbers: ['+15550100']}, ben: {}}\n")
    monkeypatch.setenv("AGENTS_FILE", str(agents))
    for name, complaint in (("ben", "the agent 'ben' has no number"), ("carl", "no agent 'carl' in .*only anna, ben")):
        script.write_text(f"title: t\nagent: {name}\nsteps: [hang_up]\n")
        with pytest.raises(WrongUse, match=complaint):
            await run("scenario", str(script))


async def test_a_gateway_that_is_not_there_is_a_failed_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NATS_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    assert await run("call", *NOWHERE, "--say", "what did I book") == 1
    told = capsys.readouterr().out
    assert "0 of 1 turns answered right" in told
    assert "wrong: the call ended early: POST http://127.0.0.1:9/twilio/voice" in told
    assert not recordings(tmp_path)


def test_the_exit_status_tells_wrong_use_from_a_failed_call(tmp_path: Path) -> None:
    def status(*argv: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "simulator", *argv]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stderr

    assert status("call")[0] == 2
    code, told = status("call", "--url", "ftp://host")
    assert (code, told) == (2, "simulator: --url: http://… or https://… expected\n")
    assert status("call", *NOWHERE, "--out", str(tmp_path))[0] == 1
    assert status("--help")[0] == 0


async def test_the_stand_ins_tell_their_settings_and_stop_in_order(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "simulator", "standins", "--port", "0", "--api-key", "k1"]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    try:
        settings: dict[str, str] = {}
        while len(settings) < 9:
            line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()
            assert line, "the stand-ins ended"
            name, _, settings[name] = line.partition("=")
        url = settings["DEEPGRAM_BASE_URL"]
        assert settings["OPENAI_BASE_URL"] == f"{url}/v1"
        assert settings["ELEVENLABS_API_KEY"] == "k1"
        async with aiohttp.ClientSession() as http, http.get(f"{url}/health") as answer:
            assert answer.status == 200
    finally:
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert process.returncode == 0
