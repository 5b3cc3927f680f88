"""`call` and `demo`: one conversation, shown as it goes and judged."""

import argparse
import time
from pathlib import Path

from shared.agents import STAGES
from shared.espeak import SpeechError
from shared.pcm import BadAudio, write_wav
from simulator.commands import options, report, system
from simulator.commands.options import WrongUse
from simulator.commands.system import System
from simulator.conversation import CallReport, Conversation, Line


def add_call(parser: argparse.ArgumentParser) -> None:
    """Options of `call`."""
    options.add_system(parser, required=True)
    options.add_lines(parser)
    options.add_call(parser)


def add_demo(parser: argparse.ArgumentParser) -> None:
    """Options of `demo`."""
    options.add_system(parser)
    options.add_ring(parser)
    options.add_lines(parser)
    options.add_call(parser)


def _lines(args: argparse.Namespace, *, any_answer: bool = False) -> list[Line]:
    writer = options.writer(args, any_answer=any_answer)
    try:
        if args.file:
            return [writer.played(args.file)]
        return writer.said(args.say) if args.say else writer.scripted()
    except (BadAudio, SpeechError, ValueError) as error:
        raise WrongUse(str(error)) from error


async def call(args: argparse.Namespace) -> int:
    """Call a running system."""
    lines = _lines(args)
    async with system.running(args, [line.said for line in lines]) as target:
        return await _hold(target, lines, args.out)


async def demo(args: argparse.Namespace) -> int:
    """Start a system, call it, stop it."""
    if args.url:
        return await call(args)
    lines = _lines(args, any_answer=args.vendors == "configured")
    stages = STAGES[options.agent(args.to).pipeline]
    # The system is whole only when the default agent's stages are there.
    counts = dict.fromkeys(("gateway", *STAGES["cascade"], *stages), 1)
    async with system.started(args, [line.said for line in lines], counts) as target:
        return await _hold(target, lines, args.out)


async def _hold(target: System, lines: list[Line], out: Path) -> int:
    setup = target.setup
    conversation = Conversation(setup, lines, report.transcript, lambda turn: report.tell(report.latency(turn)))
    report.progress(f"calling {setup.dialled} …")
    result = await conversation.hold()
    cost = target.cpu(result.seconds)
    _summary(result, cost, out)
    if not result.reasons:
        return 0
    target.failed()
    return 1


def _summary(result: CallReport, cost: list[str], out: Path) -> None:
    if result.recording[0]:
        path = out / f"{time.strftime('%Y%m%d-%H%M%S')}-{result.call_id[-6:]}.wav"
        write_wav(path, *result.recording)
        report.tell(f"recording: {path} (left: caller, right: agent)")
    for line in cost:
        report.tell(line)
    if result.greeting_ms is not None:
        report.tell(f"the greeting was heard {result.greeting_ms:.0f} ms after the line opened")
    if result.underruns:
        report.tell(f"the agent stuttered {result.underruns} times")
    right = sum(turn.verdict.right for turn in result.turns)
    report.tell(f"{right} of {result.planned} turns answered right, {result.seconds:.0f} s")
    for reason in result.reasons:
        report.tell(f"wrong: {reason}")
