"""The simulator's command line: `python -m simulator demo | call | scenario | load | bench | chaos | …`."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable

import aiohttp
import structlog
import uvloop

from shared.bus import BusError
from simulator.commands.bench import add_bench, bench
from simulator.commands.call import add_call, add_demo, call, demo
from simulator.commands.chaos import add_chaos, chaos
from simulator.commands.interruptions import add_interruptions, interruptions
from simulator.commands.leaks import add_leaks, leaks
from simulator.commands.load import add_load, load
from simulator.commands.options import WrongUse
from simulator.commands.scenario import add_scenario, scenario
from simulator.commands.standins import add_standins, standins
from simulator.plan import ProcessFailed

Command = Callable[[argparse.Namespace], Awaitable[int]]
_INTERRUPTED = 130
_STATUS = "Exit status: 0 all right, 1 a wrong or missing answer or a system that does not run, 2 wrong use."


def parser() -> argparse.ArgumentParser:
    """The command line; `run` of its result is the command."""
    root = argparse.ArgumentParser(
        prog="python -m simulator",
        description="The other side of the telephone: callers as Twilio carries them, and stand-ins for the vendors.",
        epilog=_STATUS,
    )
    commands = root.add_subparsers(metavar="COMMAND", required=True)
    for name, add, run, text in (
        ("demo", add_demo, demo, "start a whole system, hold one conversation with it, stop it"),
        ("call", add_call, call, "place one call to a running gateway"),
        ("scenario", add_scenario, scenario, "play scripts of a caller's actions and judge what comes of them"),
        ("load", add_load, load, "place many calls at once and check that none gets another's answer"),
        (
            "bench",
            add_bench,
            bench,
            "measure how many calls a core holds, what each costs and what is added to responses",
        ),
        ("interruptions", add_interruptions, interruptions, "interrupt an agent, and cough at it, many times; measure"),
        ("chaos", add_chaos, chaos, "break a system in every way under live calls; tell what their callers heard"),
        ("leaks", add_leaks, leaks, "place calls that end in every way; then nothing of them may be left"),
        ("standins", add_standins, standins, "serve the vendors' APIs on this machine, without a key"),
    ):
        command = commands.add_parser(name, help=text, description=text, epilog=_STATUS)
        add(command)
        command.set_defaults(run=run)
    return root


async def _run(command: Command, args: argparse.Namespace) -> int:
    task = asyncio.ensure_future(command(args))
    for number in (signal.SIGINT, signal.SIGTERM):
        # Cancelled rather than killed, so that the processes it started are stopped.
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return _INTERRUPTED


def main() -> int:
    """Run one command; returns the exit status."""
    args = parser().parse_args()
    # What goes wrong is told by the commands; the bus would log every orderly disconnect too.
    logging.basicConfig(level=logging.ERROR)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        return uvloop.run(_run(args.run, args))
    except WrongUse as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 2
    except (ProcessFailed, BusError, aiohttp.ClientError, OSError) as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
