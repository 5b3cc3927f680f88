"""`bench`: how many calls a core holds, what each costs, and what the platform adds to a response."""

import argparse
import json
import math
import os
import platform
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from shared.bus import BusError
from simulator.commands import report
from simulator.commands.load import processes
from simulator.commands.options import WrongUse
from simulator.plan import ProcessFailed

if TYPE_CHECKING:
    from simulator.bench.guard import Baseline
    from simulator.bench.result import LevelResult
    from simulator.bench.site import Setting

_BROKEN = (ProcessFailed, BusError, aiohttp.ClientError, TimeoutError)
"""A system that cannot be measured."""
_MOST_CALLS = 1000
_TOLD = 20
"""What was wrong in a level is told one by one up to here; --json has it all."""


def add_bench(parser: argparse.ArgumentParser) -> None:
    """Options of `bench`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--levels", metavar="N,…", help="calls at the same time, level by level (default: a search)")
    which.add_argument("--level", metavar="N", help="one level")
    which.add_argument("--guard", metavar="FILE", type=Path, help="a short level, its cost compared with the file's")
    parser.add_argument("--guard-record", action="store_true", help="write the file of --guard")
    parser.add_argument("--turns", type=int, default=4, metavar="N", help="lines of each call, at least (%(default)s)")
    parser.add_argument("--ramp-s", type=float, help="the calls begin within this time (default: ten in a second)")
    parser.add_argument("--hold-s", type=float, default=0.0, help="all calls are up for so long, at least")
    parser.add_argument("--past", action="store_true", help="place more calls than fit, too")
    parser.add_argument("--stt-ms", type=int, default=0, help="the recogniser's delay (%(default)s)")
    parser.add_argument("--llm-ms", type=int, default=200, help="the model's delay (%(default)s)")
    parser.add_argument("--tts-ms", type=int, default=80, help="the voice's delay (%(default)s)")
    parser.add_argument(
        "--cores",
        default="system=0,load=1",
        help="where the system and the load side run, or none: anywhere (%(default)s)",
    )
    parser.add_argument(
        "--workers", metavar="STAGE=N", action="append", default=[], help="processes of a service (repeat; default 1)"
    )
    parser.add_argument("--seed", type=int, default=1, help="chooses the callers' words (%(default)s)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the result as JSON")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw it: .svg or .png")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the tables between the marks in FILE")
    parser.add_argument("--logs", metavar="FOLDER", type=Path, help="where the processes' logs go")


async def bench(args: argparse.Namespace) -> int:
    """Run the levels and tell the tables."""
    # Imported here: psutil comes with requirements/dev.txt only.
    from simulator.bench import pins

    _check(args)
    _check_outputs(args)
    setting = _setting(args)
    with pins.pinned(setting.pins.load):
        if args.guard is not None:
            return await _guard(setting, args)
        levels = await _levels(setting, args)
    per_core = _per_core(levels, setting)
    _tell(levels, per_core, setting, args)
    if args.level is None and args.levels is None:
        return 0 if per_core != 0 else 1
    return 1 if any(level.wrong for level in levels) else 0


def _check(args: argparse.Namespace) -> None:
    if args.turns < 1 or (args.ramp_s or 0) < 0 or args.hold_s < 0 or min(args.stt_ms, args.llm_ms, args.tts_ms) < 0:
        raise WrongUse("--turns: at least 1; --ramp-s, --hold-s and delays: at least 0")
    if (args.hold_s or args.past) and not (args.level or args.levels):
        raise WrongUse("--hold-s and --past need --level or --levels")
    if args.guard_record and args.guard is None:
        raise WrongUse("--guard-record needs --guard FILE")
    if args.plot is not None and args.plot.suffix not in (".svg", ".png"):
        raise WrongUse("--plot: a file .svg or .png expected")


def _check_outputs(args: argparse.Namespace) -> None:
    """What comes of minutes of work must not be lost at its end."""
    from simulator.bench import table

    for path in filter(None, (args.json, args.plot, args.guard)):
        if not path.parent.is_dir():
            raise WrongUse(f"{path}: no such folder")
    if args.plot is not None and find_spec("matplotlib") is None:
        raise WrongUse("--plot needs matplotlib, which requirements/dev.txt brings")
    if args.markdown is not None:
        try:
            table.placed(args.markdown.read_text(), [])
        except (OSError, ValueError) as error:
            raise WrongUse(f"--markdown {args.markdown}: {error}") from error


def _numbers(args: argparse.Namespace) -> list[int]:
    """The levels that are asked for; none: they are searched. Raises WrongUse."""
    text = args.level or args.levels
    if text is None:
        return []
    numbers = [int(number) for number in text.split(",") if number.strip().isdecimal()]
    if len(numbers) != len(text.split(",")) or not all(1 <= number <= _MOST_CALLS for number in numbers):
        raise WrongUse(f"--levels {text}: numbers from 1 to {_MOST_CALLS} expected")
    return numbers


def _setting(args: argparse.Namespace) -> "Setting":
    from simulator.bench import pins
    from simulator.bench.site import Setting
    from simulator.bench.told import Told

    try:
        cores = pins.parse(args.cores)
        pins.check(cores, pins.usable())
    except pins.WrongPins as error:
        if args.guard is None:
            raise WrongUse(f"--cores {error}") from error
        # A guard does not fail for want of a core.
        report.tell(f"WARNING: nothing is pinned: {error}")
        cores = pins.Pins()
    told = Told(stt_ms=args.stt_ms, llm_ms=args.llm_ms, tts_ms=args.tts_ms)
    return Setting(told, processes(args.workers), cores, args.seed, args.logs)


async def _levels(setting: "Setting", args: argparse.Namespace) -> "list[LevelResult]":
    from simulator.bench.search import next_level

    levels: list[LevelResult] = []
    asked = iter(_numbers(args))
    searched = args.level is None and args.levels is None
    while True:
        calls = next_level({level.calls: level.good for level in levels}) if searched else next(asked, None)
        if calls is None:
            break
        try:
            levels.append(await (_searched if searched else _level)(calls, setting, args))
        except _BROKEN as error:
            if not levels:
                raise
            # What was measured until now took long.
            report.progress(f"{calls} calls: {error or type(error).__name__}")
            break
    return sorted(levels, key=lambda level: level.calls)


async def _searched(calls: int, setting: "Setting", args: argparse.Namespace) -> "LevelResult":
    """A level of the search. It is tried again if it was only late: a machine with other tenants has slow minutes."""
    result = await _level(calls, setting, args)
    if not result.only_late:
        return result
    report.progress(f"{calls} calls: once more, for the machine may have been slow")
    again = await _level(calls, setting, args)
    if not again.only_late:
        return again
    return min(result, again, key=lambda level: level.added(95) or math.inf)


async def _level(calls: int, setting: "Setting", args: argparse.Namespace) -> "LevelResult":
    from simulator.bench import level, table
    from simulator.bench.crowd import Wanted

    wanted = Wanted(calls, args.turns, args.ramp_s, args.hold_s, args.past)
    result = await level.run(wanted, setting, report.progress)
    cells = [f"{name} {cell}" for name, cell in zip(table.MAIN, table.main_row(result), strict=True)]
    report.progress(f"{'good' if result.good else 'NOT GOOD'}: {', '.join(cells)}")
    return result


def _per_core(levels: "list[LevelResult]", setting: "Setting") -> int | None:
    """The highest good level; None when one level, or more than one core, tells nothing of it."""
    from simulator.bench.search import highest

    if len(levels) < 2 or len(setting.pins.system) != 1:
        return None
    return highest({level.calls: level.good for level in levels})


def _tell(levels: "list[LevelResult]", per_core: int | None, setting: "Setting", args: argparse.Namespace) -> None:
    from simulator.bench import table

    for line in table.text(levels):
        report.tell(line)
    for level in levels:
        for wrong in level.wrong[:_TOLD]:
            report.tell(f"wrong: {level.calls} calls: {wrong}")
        if len(level.wrong) > _TOLD:
            report.tell(f"wrong: {level.calls} calls: … {len(level.wrong) - _TOLD} more")
        if args.hold_s:
            report.tell(table.course(level))
    for line in table.remarks(levels, per_core):
        report.tell(line)
    if args.json is not None:
        args.json.write_text(json.dumps(_machine(levels, per_core, setting), indent=2) + "\n")
    if args.markdown is not None:
        lines = list(table.markdown(levels, per_core))
        args.markdown.write_text(table.placed(args.markdown.read_text(), lines))
    if args.plot is not None:
        from simulator.bench.plot import draw

        draw(levels, per_core, args.plot)


def _machine(levels: "list[LevelResult]", per_core: int | None, setting: "Setting") -> dict[str, object]:
    from simulator.bench import table

    return {
        "calls_per_core": per_core,
        "cores": str(setting.pins),
        "processes": dict(setting.counts),
        "told": asdict(setting.told),
        "machine": {"cores": os.cpu_count(), "architecture": platform.machine(), "python": platform.python_version()},
        "levels": [table.machine(level) for level in levels],
    }


def _recorded(path: Path) -> "Baseline":
    from simulator.bench.guard import Baseline

    try:
        return Baseline.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise WrongUse(f"--guard {path}: no such file; --guard-record writes it") from None
    except ValueError as error:
        raise WrongUse(f"--guard {path}: not what --guard-record writes") from error


async def _guard(setting: "Setting", args: argparse.Namespace) -> int:
    from simulator.bench import guard, level
    from simulator.bench.crowd import Wanted

    recorded = None if args.guard_record else _recorded(args.guard)
    try:
        result = await level.run(Wanted(guard.CALLS, guard.TURNS, ramp_s=5.0), setting, report.progress)
        now = guard.measured(result.cost_sum, result.calibration_s)
    except (*_BROKEN, ValueError) as error:
        report.tell(f"WARNING: the cost of a call was not measured: {error or type(error).__name__}")
        return 1 if recorded is None else 0
    if recorded is None:
        args.guard.write_text(json.dumps(guard.written(now), indent=2) + "\n")
        report.tell(
            f"recorded: a call-minute costs {now.cpu_s_per_call_minute:.2f} CPU-s, {now.ratio:.2f} calibrations"
        )
    else:
        report.tell(guard.compared(now, recorded))
    for wrong in result.wrong:
        report.tell(f"WARNING: wrong: {wrong}")
    return 0
