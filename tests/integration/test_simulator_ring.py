"""The launcher: real processes, started, measured, killed, and never left behind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import aiohttp
import psutil
import pytest

from shared import nats_bus
from simulator.plan import OFFLINE, ROOT, Plan, ProcessFailed, read_procfile
from simulator.process import Process
from simulator.ring import Ring

ONLY_NATS = Plan(counts={})


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def never_ready() -> str:
    return "it never is"


async def at_once() -> str:
    return ""


def python(code: str, folder: Path) -> Process:
    env = {"PATH": os.environ["PATH"]}
    return Process("child", 0, [sys.executable, "-u", "-c", code], env, folder)


async def logged(process: Process, text: str) -> None:
    """Wait until the process has written `text`."""

    async def probe() -> str:
        return "" if process.log.exists() and text in process.log.read_text() else f"no {text!r} yet"

    await process.ready(probe, 10)


async def test_a_broker_with_jetstream_starts_and_stops(tmp_path: Path) -> None:
    said: list[str] = []
    async with Ring(ONLY_NATS, tmp_path, said.append) as ring:
        bus = await nats_bus.connect(ring.broker("gateway"), "test")
        bucket = await bus.bucket("calls", 60)
        assert await bucket.put("key", b"value") > 0
        await bus.close()
        [usage] = ring.usage()
        assert usage.name == "nats" and usage.rss_mb > 1
        [process] = ring.processes
        pid, folder = process.pid, ring._folder
        assert folder.exists()
    assert gone(pid)
    assert not folder.exists()
    assert said[0] == "starting nats …"
    assert said[1].startswith("nats ready (")
    assert (tmp_path / "nats-0.log").read_text()
    assert ring.usage() == []


async def test_a_killed_broker_can_be_started_again(tmp_path: Path) -> None:
    async with Ring(ONLY_NATS, tmp_path) as ring:
        first = ring.find("nats").pid
        await ring.kill("nats")
        assert gone(first)
        assert not ring.find("nats").running
        await ring.restart("nats")
        bus = await nats_bus.connect(ring.nats_url, "test")
        await bus.close()
        assert ring.find("nats").pid != first
    assert gone(ring.find("nats").pid)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not reached():
            await asyncio.sleep(0)


async def test_a_process_is_paused_resumed_and_terminated(tmp_path: Path) -> None:
    async with Ring(ONLY_NATS, tmp_path) as ring:
        watched = psutil.Process(ring.find("nats").pid)
        # The kernel stops and continues it when it gets to it.
        ring.pause("nats")
        await until(lambda: watched.status() == psutil.STATUS_STOPPED)
        ring.resume("nats")
        await until(lambda: watched.status() != psutil.STATUS_STOPPED)
        assert await ring.terminate("nats") == 0
        await ring.restart("nats")
        ring.pause("nats")
    assert gone(ring.find("nats").pid)
    assert ring.find("nats").status == 0


async def test_a_process_that_ignores_sigterm_is_no_success(tmp_path: Path) -> None:
    async with Ring(ONLY_NATS, tmp_path) as ring:
        ring.pause("nats")
        with pytest.raises(ProcessFailed, match=r"did not end within 0\.05 s"):
            await ring.terminate("nats", timeout_s=0.05)


async def test_a_log_is_read_from_the_last_start(tmp_path: Path) -> None:
    process = python("import os; print('ready' if not os.path.exists('once') else 'late'); open('once', 'w')", tmp_path)
    for said in ("ready", "late"):
        await process.start()
        assert await process.ended(10)
        assert process.said(said)
    assert not process.said("ready")


async def test_gateways_share_a_port_when_they_shall(tmp_path: Path) -> None:
    async with Ring(Plan(counts={"gateway": 1}, one_port=True), tmp_path) as ring:
        [url] = ring.urls
        assert ring.url_of(ring.find("gateway")) == url
        async with aiohttp.ClientSession() as http, http.get(f"{url}/health") as response:
            assert response.status == 200


async def test_a_gateway_is_waited_for_until_it_has_workers(tmp_path: Path) -> None:
    async with Ring(Plan(counts={"gateway": 1}, one_port=True), tmp_path) as ring:
        ring.plan = replace(ring.plan, one_port=False)
        gateway = ring.find("gateway")
        assert "'missing': ['stt', 'llm', 'tts']" in await ring._missing(gateway)
        for stage in ("stt", "llm", "tts"):
            await ring.add(stage)
        await gateway.ready(lambda: ring._missing(gateway), 10)


async def test_a_service_that_dies_at_start_is_an_error_with_its_log(tmp_path: Path) -> None:
    ring = Ring(Plan(counts={"gateway": 1}, env={**OFFLINE, "MAX_CALLS": "many"}), tmp_path)
    with pytest.raises(ProcessFailed) as failed:
        await ring.start()
    assert "gateway ended with status 2" in str(failed.value)
    assert "MAX_CALLS" in str(failed.value)
    assert gone(ring.find("nats").pid)


async def test_an_unknown_service_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    ring = Ring(Plan(counts={"fax": 1}), tmp_path)
    with pytest.raises(ProcessFailed, match="no 'fax'"):
        await ring.start()
    assert gone(ring.find("nats").pid)
    with pytest.raises(KeyError, match="fax-0"):
        ring.find("fax")


async def test_a_process_that_is_never_ready_is_an_error_with_its_log(tmp_path: Path) -> None:
    process = python("print('still thinking'); import signal; signal.pause()", tmp_path)
    await process.start()
    await logged(process, "still thinking")
    with pytest.raises(ProcessFailed) as failed:
        await process.ready(never_ready, 0.0)
    assert "not ready within 0 s: it never is" in str(failed.value)
    assert "still thinking" in str(failed.value)
    assert await process.stop(10)
    assert gone(process.pid)


async def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); signal.pause(); signal.pause()"
    process = python(code, tmp_path)
    await process.start()
    await logged(process, "deaf")
    assert not await process.stop(0.2)
    assert gone(process.pid)


async def test_a_process_has_only_the_environment_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKLINE_SECRET", "1")
    process = python("import os; print(sorted(os.environ))", tmp_path)
    await process.start()
    assert await process.ended(10)
    assert "TRUNKLINE_SECRET" not in process.log.read_text()
    assert "PYTHONPATH" in process.log.read_text()


async def test_a_process_without_a_log_or_a_start_says_so(tmp_path: Path) -> None:
    process = python("", tmp_path)
    assert "nothing in its log" in process.tail()
    with pytest.raises(ProcessFailed, match="not started"):
        _ = process.pid
    assert await process.stop(1)
    assert process.usage() is None


def run(code: str, folder: Path) -> Sequence[int]:
    """Run a program that starts a ring with a broker and prints the broker's process id; returns it and the status."""
    start = (
        "import asyncio, os, signal, pathlib\n"
        "from simulator.plan import Plan\n"
        "from simulator.ring import Ring\n"
        f"ring = Ring(Plan(counts={{}}), pathlib.Path({str(folder)!r}))\n"
        "asyncio.run(ring.start())\n"
        "print(ring.find('nats').pid, flush=True)\n"
    )
    env = {**os.environ, "TMPDIR": str(folder)}
    command = [sys.executable, "-c", start + code]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip(), done.stderr
    return int(done.stdout), done.returncode


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("raise RuntimeError('crash')", 1),
        ("raise SystemExit(3)", 3),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os._exit(4)", 4),
    ],
    ids=["crashes", "exits", "is killed", "exits without cleaning up"],
)
async def test_nothing_is_left_when_the_program_that_started_it(code: str, status: int, tmp_path: Path) -> None:
    pid, ended = await asyncio.to_thread(run, code, tmp_path)
    assert ended == status
    broker = psutil.Process(pid) if psutil.pid_exists(pid) else None
    if broker is not None:
        # Killed by the kernel with its parent; whoever inherits it reaps it a moment later.
        with_end = await asyncio.to_thread(psutil.wait_procs, [broker], 10)
        assert with_end[0] or broker.status() == psutil.STATUS_ZOMBIE


def test_a_procfile_is_read(tmp_path: Path) -> None:
    file = tmp_path / "Procfile"
    file.write_text("# comment\nstt: python -m services.stt --name 'a b'\n\nnats: nats-server -js\n")
    assert read_procfile(file) == {
        "stt": [sys.executable, "-m", "services.stt", "--name", "a b"],
        "nats": ["nats-server", "-js"],
    }
    with pytest.raises(ProcessFailed, match="No such file"):
        read_procfile(tmp_path / "none")


def test_the_procfile_of_the_repository_has_every_service() -> None:
    assert {"gateway", "stt", "llm", "tts", "speech"} <= set(read_procfile())
