"""What the commands tell people."""

import math
import sys
from collections.abc import Mapping, Sequence

from shared.messages import Message, TranscriptAgent, TranscriptCaller, TurnCompleted
from simulator.conversation import TurnReport
from simulator.usage import Usage

PARTS = ("endpointing", "stt", "llm", "tts", "gateway")


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
    spans = (timing.endpointing_ms, timing.stt_ms, llm, timing.tts_first_audio_ms, timing.gateway_ms)
    return dict(zip(PARTS, spans, strict=True))


def latency(report: TurnReport) -> str:
    """Where the time of a turn went, in one line."""
    if not report.line.expected.dialogue:
        return f"  said: {report.line.said}"
    by_ear = "no reply" if report.turn.latency_ms is None else f"reply after {report.turn.latency_ms:.0f} ms by ear"
    if report.timing is None:
        return f"        {by_ear}"
    spans = " + ".join(f"{part} {ms:.0f}" for part, ms in split(report.timing).items())
    return f"        {by_ear}: {spans} = {report.timing.total_ms:.0f} ms"


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of `values` do not exceed (nearest rank). Raises ValueError for none."""
    if not values:
        raise ValueError("a percentile of nothing")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


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
