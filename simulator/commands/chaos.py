"""`chaos`: break a running system in every way under live calls, and judge what its callers heard."""

import argparse
import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shared.agents import load
from simulator.commands import report
from simulator.commands.options import WrongUse

if TYPE_CHECKING:
    from simulator.chaos.trial import Trial

_MAX_CALLS = 200
_MAX_RINGS = 8


def add_chaos(parser: argparse.ArgumentParser) -> None:
    """Options of `chaos`."""
    parser.add_argument(
        "--faults", metavar="NAME,…", default="", help="only these, as in --list; globs such as stt-* (default: all)"
    )
    parser.add_argument("--list", action="store_true", help="show the faults")
    parser.add_argument("--calls", type=int, default=10, metavar="N", help="calls at the same time (%(default)s)")
    parser.add_argument("--rings", type=int, default=2, metavar="N", help="systems at the same time (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="chooses the callers' words and the moments (%(default)s)")
    parser.add_argument("--max-words-lost", type=int, metavar="N", help="more lost words in a fault are a failure")
    parser.add_argument("--max-silence-ms", type=int, metavar="MS", help="a longer silence in any call is a failure")
    parser.add_argument("--json", action="store_true", help="tell the result as JSON")
    parser.add_argument(
        "--markdown", metavar="FILE", nargs="?", const="", help="the table as Markdown, written into FILE if given"
    )
    parser.add_argument("--logs", metavar="FOLDER", type=Path, help="where the processes' logs go")


async def chaos(args: argparse.Namespace) -> int:
    """Try the faults and tell the table."""
    # Imported here: psutil comes with requirements/dev.txt only.
    from simulator.chaos.campaign import Campaign
    from simulator.chaos.catalogue import chosen
    from simulator.chaos.ears import Ears
    from simulator.chaos.needs import AGENTS
    from simulator.chaos.trial import cast

    if not 1 <= args.calls <= _MAX_CALLS or not 1 <= args.rings <= _MAX_RINGS:
        raise WrongUse(f"--calls: 1 to {_MAX_CALLS}, --rings: 1 to {_MAX_RINGS}")
    try:
        entries = chosen([name.strip() for name in args.faults.split(",") if name.strip()])
    except KeyError as error:
        raise WrongUse(f"--faults: no fault is called {error}, see --list") from error
    if args.list:
        for entry in entries:
            report.tell(f"{entry.name:<24} {entry.what} ({entry.needs})")
        return 0
    agents = {agent.name: agent for agent in load(AGENTS).agents}
    names = {entry.agent for entry in entries}
    casts = {name: await asyncio.to_thread(cast, agents[name], args.calls, args.seed) for name in names}
    with Ears() as ears:
        campaign = Campaign(casts, ears, args.seed, args.logs, report.progress, _progress)
        trials = await campaign.run(entries, args.rings)
    _tell(trials, args)
    return _status(trials, args)


def _progress(trial: "Trial") -> None:
    from simulator.chaos import table

    cells = [f"{name} {cell}" for name, cell in zip(table.HEAD[1:], table.row(trial)[1:], strict=True)]
    report.progress(f"{trial.name}: {'right' if trial.right else 'WRONG'}: {', '.join(cells)}")


def _tell(trials: Sequence["Trial"], args: argparse.Namespace) -> None:
    from simulator.chaos import table

    if args.json:
        report.tell(json.dumps([table.machine(trial) for trial in trials], indent=2))
        return
    if args.markdown:
        path = Path(args.markdown)
        path.write_text(table.placed(path.read_text(), table.markdown(trials)))
        report.progress(f"the table is in {path}")
    for trial in trials:
        for remark in table.remarks(trial):
            report.tell(remark)
    for line in table.markdown(trials) if args.markdown == "" else table.text(trials):
        report.tell(line)


def _status(trials: Sequence["Trial"], args: argparse.Namespace) -> int:
    failed = [trial for trial in trials if not trial.right]
    for trial in trials:
        lost = sum(call.words_lost for call in trial.calls)
        silence = max((call.silence_ms for call in trial.calls), default=0.0)
        too_many = args.max_words_lost is not None and lost > args.max_words_lost
        too_long = args.max_silence_ms is not None and silence > args.max_silence_ms
        if too_many or too_long:
            report.progress(f"{trial.name}: {lost} words lost, longest silence {silence:.0f} ms: over the limit")
            failed.append(trial)
    return 1 if failed else 0
