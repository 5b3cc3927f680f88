"""What each caller says under a fault: right answers that belong to this call only and that need its memory."""

import random
from dataclasses import dataclass

from shared.agents import AgentProfile
from shared.scenario import load as load_scenario
from simulator.caller import Voice
from simulator.conversation import Line
from simulator.script import Writer

_DIGITS = ("zero", "one", "two", "three", "four", "five", "seven", "nine")
"""On the telephone, "six" and "eight" sound alike to the offline recogniser."""
_PARTIES = ("three", "four", "five", "seven")
_DAYS = ("tuesday", "wednesday", "thursday", "friday", "saturday")
_HOURS = ("seven", "nine", "ten")


@dataclass(frozen=True, slots=True)
class Script:
    """The lines of one call, said over and over until the call has seen enough."""

    lines: tuple[Line, ...]


def _texts(digits: str, rng: random.Random) -> list[str]:
    return [
        f"my order number is {digits}",
        "what was my order number",
        f"I would like to book a table for {rng.choice(_PARTIES)} people",
        f"on {rng.choice(_DAYS)} at {rng.choice(_HOURS)} o'clock please",
        "what did I book",
    ]


def scripts(agent: AgentProfile, calls: int, seed: int) -> list[Script]:
    """A script for each call; no two of them have the same order number. Raises shared.espeak.SpeechError."""
    rng = random.Random(seed)
    writer = Writer(agent)
    numbers: set[str] = set()
    while len(numbers) < calls:
        # No digit twice: the same sound in two places of an answer could be taken for one another.
        numbers.add(" ".join(rng.sample(_DIGITS, 4)))
    return [Script(tuple(writer.said(_texts(digits, rng)))) for digits in sorted(numbers)]


@dataclass(frozen=True, slots=True)
class Asks:
    """What the agent says when it has understood nothing, or waits for a word."""

    texts: tuple[str, ...]
    sounds: tuple[bytes, ...]
    """How the last words of each sound, by which a caller knows that it is his turn again."""


def asks(agent: AgentProfile) -> Asks:
    """Those of `agent`. Raises shared.espeak.SpeechError."""
    silence = agent.turns.silence
    texts = (load_scenario(agent.scenario).fallback, *silence.reprompts)
    last = [text.rstrip(".?!").replace("!", ".").replace("?", ".").split(".")[-1].strip() for text in texts]
    return Asks(texts, tuple(Voice().render(text) for text in last))
