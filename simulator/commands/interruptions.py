"""`interruptions`: how fast and how rightly an agent stops for words, and goes on after a cough."""

import argparse
import asyncio
import json
from collections.abc import Sequence

from shared.agents import AgentProfile
from shared.espeak import SpeechError
from shared.scenario import load as load_scenario
from simulator.caller import Voice
from simulator.commands import options, report, system
from simulator.commands.options import WrongUse
from simulator.commands.system import System
from simulator.rehearsal.interruption import Interrupter, Outcome, Trial, trials

_MAX = 10_000
_TELL_EVERY = 20


def add_interruptions(parser: argparse.ArgumentParser) -> None:
    """Options of `interruptions`."""
    parser.add_argument(
        "--count", type=int, default=100, metavar="N", help="so many interruptions and so many coughs (%(default)s)"
    )
    parser.add_argument("--concurrent", type=int, default=5, metavar="N", help="calls at the same time (%(default)s)")
    parser.add_argument("--ask", metavar="TEXT", default="what is on your menu", help="gets a long reply (%(default)s)")
    parser.add_argument(
        "--say", metavar="TEXT", default="no wait where are you located", help="interrupts it (%(default)s)"
    )
    parser.add_argument("--until-ms", type=int, default=7000, help="latest moment into the reply (%(default)s ms)")
    parser.add_argument("--seed", type=int, default=1, help="chooses the moments and the coughs (%(default)s)")
    parser.add_argument("--json", action="store_true", help="tell the result as JSON")
    options.add_system(parser)
    options.add_ring(parser)
    options.add_call(parser)


async def interruptions(args: argparse.Namespace) -> int:
    """Make the trials and tell the figures."""
    if not 1 <= args.count <= _MAX or args.concurrent < 1 or args.until_ms < 1000:
        raise WrongUse(f"--count: 1 to {_MAX}, --concurrent: at least 1, --until-ms: at least 1000")
    voice = options.voice(args)
    try:
        said = trials(args.count, voice.render(args.say), args.until_ms, args.seed)
    except SpeechError as error:
        raise WrongUse(str(error)) from error
    if args.url:
        async with system.running(args, [args.ask, args.say]) as target:
            return await _run(target, said, voice, args)
    async with system.started(args, [args.ask, args.say]) as target:
        return await _run(target, said, voice, args)


async def _run(target: System, said: list[Trial], voice: Voice, args: argparse.Namespace) -> int:
    bus = target.setup.bus
    if bus is None:
        raise WrongUse("interruptions are measured with the broker of the system: --nats")
    agent = options.agent(args.to)
    answer = _answer(agent, args)
    calls = min(args.concurrent, len(said))
    question = voice.render(args.ask)
    made: list[Outcome] = []

    def note(outcome: Outcome) -> None:
        made.append(outcome)
        if len(made) % _TELL_EVERY == 0:
            report.progress(f"{len(made)} of {len(said)} …")

    interrupters = [
        Interrupter(target.setup, bus, question, answer, agent.turns, said[number::calls], note)
        for number in range(calls)
    ]
    report.progress(f"{len(said)} trials in {calls} calls …")
    results = await asyncio.gather(*(interrupter.run() for interrupter in interrupters))
    outcomes = [outcome for result in results for outcome in result]
    if args.json:
        report.tell(json.dumps(figures(outcomes), indent=2))
    else:
        _tell(outcomes)
    if all(outcome.right for outcome in outcomes):
        return 0
    target.failed()
    return 1


def _answer(agent: AgentProfile, args: argparse.Namespace) -> str:
    """The right answer to an interruption; empty: any is."""
    if args.any_answer or (args.vendors == "configured" and not args.url):
        return ""
    return load_scenario(agent.scenario).respond([args.say])


def _of(outcomes: Sequence[Outcome], kind: str) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.trial.kind == kind]


def counts(outcomes: Sequence[Outcome]) -> dict[str, dict[str, int]]:
    """How many of each kind came to which end."""
    spoken, coughed = _of(outcomes, "interruption"), _of(outcomes, "false alarm")
    return {
        "interruptions": {
            "made": len(spoken),
            "confirmed": sum(outcome.interrupted and outcome.answered for outcome in spoken),
            "answered wrong": sum(outcome.interrupted and not outcome.answered for outcome in spoken),
            "missed": sum(not outcome.interrupted for outcome in spoken),
        },
        "false alarms": {
            "made": len(coughed),
            "paused": sum(outcome.paused for outcome in coughed),
            "resumed": sum(outcome.resumed for outcome in coughed),
            "finished": sum(outcome.finished for outcome in coughed),
            "false stops": sum(outcome.interrupted for outcome in coughed),
        },
    }


def times(outcomes: Sequence[Outcome]) -> dict[str, list[float]]:
    """All that was measured in ms, by what it is."""
    measured = {
        "clear, by ear": [outcome.clear_ms for outcome in outcomes],
        "clear, platform": [outcome.platform_ms for outcome in outcomes],
        "resume": [outcome.resume_ms for outcome in _of(outcomes, "false alarm")],
    }
    return {name: [value for value in values if value is not None] for name, values in measured.items()}


def figures(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """The result for machines."""
    spread = {
        name: {f"p{percent}": round(report.percentile(values, percent), 1) for percent in (50, 95, 100)}
        for name, values in times(outcomes).items()
        if values
    }
    return {**counts(outcomes), "ms": spread, "wrong": [reason for outcome in outcomes for reason in _reasons(outcome)]}


def _reasons(outcome: Outcome) -> list[str]:
    """Why a trial was not right, in sentences."""
    place = f"{outcome.trial.kind} {outcome.trial.into_ms} ms into the reply"
    found = [outcome.failure] if outcome.failure else list(outcome.wrong)
    if not outcome.right and not found:
        found = ["was not answered right" if outcome.interrupted else "did not stop the agent"]
        if outcome.trial.kind == "false alarm":
            found = ["stopped the agent" if outcome.interrupted else "the reply was not heard to its end"]
    return [f"{place}: {reason}" for reason in found]


def _tell(outcomes: Sequence[Outcome]) -> None:
    for name, ends in counts(outcomes).items():
        report.tell(f"{name}: {', '.join(f'{end} {number}' for end, number in ends.items())}")
    for name, values in times(outcomes).items():
        report.spread(name, values, "trials")
    report.tell(f"replies with wrong words: {sum(bool(outcome.wrong) for outcome in outcomes)}")
    for outcome in outcomes:
        for reason in _reasons(outcome):
            report.tell(f"wrong: {reason}")
