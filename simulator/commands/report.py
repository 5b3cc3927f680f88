"""What the commands tell people."""

import math
import sys
from collections.abc import Mapping, Sequence

from shared.messages import Message, TranscriptAgent, TranscriptCaller, TurnCompleted
from simulator.conversation import TurnReport
from simulator.rehearsal.performance import PerformanceReport
from simulator.usage import Usage

PARTS = ("endpointing", "stt", "llm", "tts", "gateway", "bus", "line")


def progress(text: str) -> None:
    """A line about what is going on, apart from the result."""
    print(text, file=sys.stderr, flush=True)


def tell(text: str) -> None:
    """A line of the result."""
    print(text, flush=True)


def transcript(message: Message) -> None:
    """The conversation as it comes."""
    if isinstance(message, TranscriptCaller):
        tell(f"caller: {message.text}")
    elif isinstance(message, TranscriptAgent):
        tell(f" agent: {message.text}{' [interrupted]' if message.interrupted else ''}")


def split(timing: TurnCompleted) -> dict[str, float]:
    """A turn's milliseconds by stage, in the order of PARTS."""
    llm = timing.llm_first_token_ms + timing.first_clause_ms
    providers = (timing.stt_ms, llm, timing.tts_first_audio_ms)
    spans = (timing.endpointing_ms, *providers, timing.gateway_ms, timing.bus_ms, timing.line_ms)
    return dict(zip(PARTS, spans, strict=True))


def platform(timing: TurnCompleted) -> float:
    """What the platform itself adds to a turn, in ms: neither the providers' time nor the deliberate wait."""
    spans = split(timing)
    return timing.total_ms - sum(spans[part] for part in ("endpointing", "stt", "llm", "tts"))


def latency(report: TurnReport) -> str:
    """Where the time of a turn went, in one line."""
    if not report.line.expected.dialogue:
        return f"  said: {report.line.said}"
    by_ear = "no reply" if report.turn.latency_ms is None else f"reply after {report.turn.latency_ms:.0f} ms by ear"
    if report.timing is None:
        return f"        {by_ear}"
    spans = " + ".join(f"{part} {ms:.0f}" for part, ms in split(report.timing).items())
    total, own = report.timing.total_ms, platform(report.timing)
    return f"        {by_ear}: {spans} = {total:.0f} ms, {own:.0f} of them the platform's own"


def performance(name: str, result: PerformanceReport) -> None:
    """What came of a script, step by step; of one that failed also the conversation."""
    mark = "PASS" if result.passed else "FAIL"
    tell(f"{mark} {name}: {result.title} ({result.seconds:.0f} s)")
    for number, step in enumerate(result.steps, 1):
        tell(f"  {'FAIL' if step.reasons else 'pass'} {number:2} {step.text}")
        for reason in step.reasons:
            tell(f"          {reason}")
    for fault in result.faults:
        tell(f"  FAIL    {fault}")
    if left := result.planned - len(result.steps):
        tell(f"          {left} more steps were not played")
    if not result.passed:
        for message in result.messages:
            transcript(message)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of `values` do not exceed (nearest rank). Raises ValueError for none."""
    if not values:
        raise ValueError("a percentile of nothing")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def spread(name: str, values: Sequence[float], unit: str = "turns") -> None:
    """Tell how values in ms are spread; nothing for none."""
    if values:
        figures = ", ".join(f"p{percent} {percentile(values, percent):.0f}" for percent in (50, 95))
        tell(f"  {name:<15} {figures}, max {max(values):.0f} ms ({len(values)} {unit})")


def cpu(before: Mapping[str, Usage], after: Sequence[Usage], call_s: float) -> list[str]:
    """CPU seconds per call-minute by process, and the sum without the simulator's own side."""
    minutes = call_s / 60
    if minutes <= 0 or not after:
        return []
    backstage = ("simulator", "standins")
    lines, total = [f"CPU seconds per call-minute ({minutes:.2f} call-minutes):"], 0.0
    for usage in after:
        if usage.name not in before:
            continue
        spent = (usage.cpu_s - before[usage.name].cpu_s) / minutes
        total += 0.0 if usage.name in backstage else spent
        lines.append(f"  {usage.name:<10} {spent:6.2f}   {usage.rss_mb:5.0f} MB")
    return [*lines, f"  {'platform':<10} {total:6.2f}"]
