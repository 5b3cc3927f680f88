"""`leaks`: many calls that end in every way; then nothing of them may be left."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.commands import report
from simulator.commands.options import WrongUse

if TYPE_CHECKING:
    from simulator.chaos.leaks import Audit

_MAX_CALLS = 5000


def add_leaks(parser: argparse.ArgumentParser) -> None:
    """Options of `leaks`."""
    parser.add_argument("--calls", type=int, default=200, metavar="N", help="how many calls (%(default)s)")
    parser.add_argument("--concurrent", type=int, default=20, metavar="N", help="at the same time (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="chooses the order of the endings (%(default)s)")
    parser.add_argument("--json", action="store_true", help="tell the result as JSON")
    parser.add_argument("--logs", metavar="FOLDER", type=Path, help="where the processes' logs go")


async def leaks(args: argparse.Namespace) -> int:
    """Place the calls and tell what is left."""
    # Imported here: psutil comes with requirements/dev.txt only.
    from simulator.chaos.leaks import audit

    if not 1 <= args.calls <= _MAX_CALLS or args.concurrent < 1:
        raise WrongUse(f"--calls: 1 to {_MAX_CALLS}, --concurrent: at least 1")
    result = await audit(args.calls, args.concurrent, args.seed, args.logs, report.progress)
    if args.json:
        report.tell(json.dumps(_machine(result), indent=2))
    else:
        _tell(result)
    return 0 if result.clean else 1


def _machine(result: "Audit") -> dict[str, object]:
    slopes = {label: round(memory.slope, 2) for label, memory in result.memory.items()}
    return {**asdict(result), "clean": result.clean, "mb_per_100_calls": slopes}


def _tell(result: "Audit") -> None:
    report.tell(f"calls: {result.calls} ({', '.join(f'{way} {n}' for way, n in sorted(result.by_ending.items()))})")
    before = {holding.label: holding for holding in result.before}
    report.tell("process    files and sockets     threads         memory MB   MB per 100 calls")
    for now in result.after:
        then = before[now.label]
        slope = result.memory[now.label].slope
        report.tell(
            f"{now.label:<10} {then.fds:>8} → {now.fds:<8} {then.threads:>4} → {now.threads:<4} "
            f"{then.rss_mb:>8.1f} → {now.rss_mb:<8.1f} {slope:>8.2f}"
        )
    for failure in result.failures:
        report.tell(f"wrong: {failure}")
    for left in result.left:
        report.tell(f"left: {left}")
    report.tell("nothing is left" if result.clean else "something is left, or went wrong")
