"""A process whose event loop stands still ends."""

import asyncio
import sys
from asyncio.subprocess import PIPE

_STUCK = """
import asyncio, time
from shared.watchdog import watched

async def work():
    await asyncio.sleep(0)
    {work}

asyncio.run(watched(work(), {limit_s}))
"""


async def run(work: str, limit_s: float) -> tuple[int | None, str]:
    code = _STUCK.format(work=work, limit_s=limit_s)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=PIPE)
    async with asyncio.timeout(20):
        _, told = await process.communicate()
    return process.returncode, told.decode()


async def test_a_process_that_stands_still_ends_and_tells_where() -> None:
    status, told = await run("time.sleep(60)", 0.5)
    assert status == 1
    assert "Timeout" in told
    assert "in work" in told


async def test_a_process_that_has_done_its_work_ends_well() -> None:
    assert await run("pass", 0.5) == (0, "")
    assert await run("time.sleep(0.2)", 0) == (0, "")
