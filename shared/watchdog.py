"""The watchdog: a process whose event loop stands still for too long ends, and whoever started it starts another.

Such a process answers nobody, but keeps what it has: a gateway its open sockets, which a carrier waits at in silence,
and its share of the connections to a port that several gateways listen on.
"""

import asyncio
import faulthandler
from collections.abc import Coroutine

_PERIODS = 5
"""So often within the limit the event loop shows that it runs."""


async def watched(work: Coroutine[None, None, None], limit_s: float) -> None:
    """Do `work`; when the event loop stands still for `limit_s`, the process ends with status 1, and all stacks on
    stderr. 0: never."""
    if not limit_s:
        await work
        return
    watching = asyncio.create_task(_watch(limit_s))
    try:
        await work
    finally:
        watching.cancel()
        faulthandler.cancel_dump_traceback_later()


async def _watch(limit_s: float) -> None:
    while True:
        # A thread of the interpreter's own waits, without the GIL: it ends also a process that is stuck in C code.
        faulthandler.dump_traceback_later(limit_s, exit=True)
        await asyncio.sleep(limit_s / _PERIODS)
