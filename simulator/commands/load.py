"""`load`: many calls at once, each with an order number of its own that its answers must hold."""

import argparse
import asyncio
import random

from shared.agents import STAGES
from simulator.commands import options, report, system
from simulator.commands.options import WrongUse
from simulator.commands.system import System
from simulator.conversation import CallReport, Conversation, Line

_MAX_CALLS = 5000


def add_load(parser: argparse.ArgumentParser) -> None:
    """Options of `load`."""
    parser.add_argument("--calls", type=int, default=10, metavar="N", help="how many calls (%(default)s)")
    parser.add_argument("--concurrent", type=int, metavar="N", help="how many at the same time (default: all)")
    parser.add_argument("--over-s", type=float, default=2.0, help="the calls begin within this time (%(default)s s)")
    parser.add_argument("--seed", type=int, default=1, help="chooses the order numbers (%(default)s)")
    parser.add_argument(
        "--workers", metavar="STAGE=N", action="append", default=[], help="processes of a service (repeat; default 1)"
    )
    options.add_system(parser)
    options.add_ring(parser)
    options.add_call(parser)


def processes(workers: list[str]) -> dict[str, int]:
    """Processes by service as `STAGE=N` says, else one of each. Raises WrongUse."""
    counts = dict.fromkeys(("gateway", *STAGES["cascade"]), 1)
    for pair in workers:
        name, _, number = pair.partition("=")
        if name not in counts or not number.isdecimal() or not int(number):
            raise WrongUse(f"--workers {pair}: STAGE=N expected, STAGE one of {', '.join(counts)}")
        counts[name] = int(number)
    return counts


def _numbers(calls: int) -> list[int]:
    """Order numbers that no recogniser mistakes: on the telephone, "six" and "eight" sound alike to the offline one."""
    clear = [number for number in range(10_000) if not {"6", "8"} & set(f"{number:04d}")]
    return clear if calls <= len(clear) else list(range(10_000))


async def load(args: argparse.Namespace) -> int:
    """Place the calls and judge them."""
    if not 1 <= args.calls <= _MAX_CALLS or (args.concurrent is not None and args.concurrent < 1):
        raise WrongUse(f"--calls: 1 to {_MAX_CALLS}, --concurrent: at least 1")
    writer = options.writer(args, any_answer=args.vendors == "configured" and not args.url)
    numbers = random.Random(args.seed).sample(_numbers(args.calls), args.calls)
    scripts = [writer.order(number) for number in numbers]
    texts = [line.said for script in scripts for line in script]
    if args.url:
        async with system.running(args, texts) as target:
            return await _run(target, scripts, args)
    counts = processes(args.workers)
    env = {"MAX_CALLS": str(max(25, args.calls))}
    async with system.started(args, texts, counts, env) as target:
        return await _run(target, scripts, args)


async def _run(target: System, scripts: list[list[Line]], args: argparse.Namespace) -> int:
    together = asyncio.Semaphore(args.concurrent or len(scripts))

    async def one(index: int, script: list[Line]) -> CallReport:
        await asyncio.sleep(args.over_s * index / len(scripts))
        async with together:
            return await Conversation(target.setup, script, caller=f"+1555{1_000_000 + index}").hold()

    report.progress(f"{len(scripts)} calls to {target.setup.dialled} …")
    results = await asyncio.gather(*(one(index, script) for index, script in enumerate(scripts)))
    cost = target.cpu(sum(result.seconds for result in results))
    wrong = _summary(results)
    for line in cost:
        report.tell(line)
    if not wrong:
        return 0
    target.failed()
    return 1


def _summary(results: list[CallReport]) -> bool:
    """Tell the figures; returns whether anything was wrong."""
    turns = [turn for result in results for turn in result.turns]
    timings = [turn.timing for turn in turns if turn.timing is not None]
    right = sum(not result.reasons for result in results)
    answered = sum(bool(result.turns) and all(turn.turn.latency_ms for turn in result.turns) for result in results)
    report.tell(f"calls: {len(results)}, answered: {answered}, all right: {right}")
    greetings = [result.greeting_ms for result in results if result.greeting_ms is not None]
    report.spread("greeting", greetings, "calls")
    report.spread("by ear", [turn.turn.latency_ms for turn in turns if turn.turn.latency_ms is not None])
    for part in report.PARTS:
        report.spread(part, [report.split(timing)[part] for timing in timings])
    report.spread("measured", [timing.total_ms for timing in timings])
    ears = [(turn.turn.latency_ms, turn.timing.total_ms) for turn in turns if turn.turn.latency_ms and turn.timing]
    report.spread("ear - measured", [ear - measured for ear, measured in ears])
    report.spread("platform", [report.platform(timing) for timing in timings])
    lost = sum(result.record.lost_frames for result in results)
    report.tell(f"underruns: {sum(result.underruns for result in results)}, caller frames lost: {lost}")
    for index, result in enumerate(results):
        for reason in result.reasons:
            report.tell(f"wrong: call {index}: {reason}")
    return right < len(results)
