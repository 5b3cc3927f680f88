"""`scenario`: scripts of a caller's actions and expectations, each played in a call of its own."""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from shared.agents import STAGES, AgentProfile
from shared.espeak import SpeechError
from simulator.caller import Voice
from simulator.commands import options, report, system
from simulator.commands.options import WrongUse
from simulator.commands.system import System
from simulator.plan import ROOT
from simulator.rehearsal import screenplay
from simulator.rehearsal.performance import Performance, PerformanceReport
from simulator.rehearsal.screenplay import Screenplay, ScreenplayError

SHIPPED = ROOT / "scenarios" / "calls"


@dataclass(frozen=True, slots=True)
class Casting:
    """A script, and whom it calls."""

    name: str
    play: Screenplay
    agent: AgentProfile
    number: str


def add_scenario(parser: argparse.ArgumentParser) -> None:
    """Options of `scenario`."""
    parser.add_argument(
        "files", metavar="FILE", nargs="*", help="scripts, or names of those that ship (default: these)"
    )
    parser.add_argument("--list", action="store_true", help="show the scripts that ship")
    parser.add_argument("--concurrent", type=int, default=4, metavar="N", help="calls at the same time (%(default)s)")
    parser.add_argument("--json", action="store_true", help="tell the result as JSON")
    options.add_system(parser)
    options.add_ring(parser)
    options.add_caller(parser)
    parser.set_defaults(to="")


def shipped() -> list[Path]:
    """The scripts that ship."""
    return sorted(SHIPPED.glob("*.yaml"))


def cast(files: list[str]) -> list[Casting]:
    """The scripts in `files`. Raises WrongUse."""
    castings = []
    for file in files:
        path, known = Path(file), SHIPPED / f"{file}.yaml"
        try:
            play = screenplay.load(known if not path.exists() and known.exists() else path)
        except ScreenplayError as error:
            raise WrongUse(str(error)) from error
        castings.append(Casting(path.stem, play, *options.agent_named(play.agent)))
    return castings


async def scenario(args: argparse.Namespace) -> int:
    """Play the scripts and judge them."""
    if args.list:
        for casting in cast([str(path) for path in shipped()]):
            report.tell(f"{casting.name:<24} {casting.play.title}")
        return 0
    if args.concurrent < 1:
        raise WrongUse("--concurrent: at least 1")
    castings = cast(args.files or [str(path) for path in shipped()])
    voice = options.voice(args)
    texts = list(dict.fromkeys(text for casting in castings for text in casting.play.texts()))
    try:
        for text in texts[:1]:
            voice.render(text)
    except SpeechError as error:
        raise WrongUse(str(error)) from error
    async with _system(args, castings, texts) as target:
        results = await _play(target, castings, voice, args)
        if args.json:
            report.tell(json.dumps([_json(*result) for result in results], indent=2))
        passed = sum(result.passed for _, result in results)
        report.progress(f"{passed} of {len(results)} scenarios passed")
        if passed == len(results):
            return 0
        target.failed()
        return 1


@asynccontextmanager
async def _system(args: argparse.Namespace, castings: list[Casting], texts: list[str]) -> AsyncIterator[System]:
    if args.url:
        async with system.running(args, texts) as target:
            yield target
        return
    stages = [stage for casting in castings for stage in STAGES[casting.agent.pipeline]]
    # The system is whole only when the default agent's stages are there.
    counts = dict.fromkeys(("gateway", *STAGES["cascade"], *stages), 1)
    async with system.started(args, texts, counts) as target:
        yield target


async def _play(
    target: System, castings: list[Casting], voice: Voice, args: argparse.Namespace
) -> list[tuple[str, PerformanceReport]]:
    bus = target.setup.bus
    if bus is None:
        raise WrongUse("a scenario needs the broker of the system: --nats")
    together = asyncio.Semaphore(args.concurrent)
    any_answer = args.any_answer or (args.vendors == "configured" and not args.url)

    async def one(casting: Casting) -> tuple[str, PerformanceReport]:
        async with together:
            setup = replace(target.setup, dialled=casting.number)
            performance = Performance(setup, bus, casting.play, casting.agent, voice, any_answer=any_answer)
            result = await performance.run()
        if not args.json:
            report.performance(casting.name, result)
        return casting.name, result

    report.progress(f"{len(castings)} scenarios …")
    return list(await asyncio.gather(*(one(casting) for casting in castings)))


def _json(name: str, result: PerformanceReport) -> dict[str, object]:
    return {
        "name": name,
        "title": result.title,
        "call_id": result.call_id,
        "passed": result.passed,
        "seconds": round(result.seconds, 1),
        "steps": [{"step": step.text, "passed": not step.reasons, "reasons": step.reasons} for step in result.steps],
        "faults": result.faults,
    }
