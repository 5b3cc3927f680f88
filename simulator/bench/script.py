"""What each caller says: questions whose right answers belong to this call and this turn only."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

from shared.phrases import normalize
from shared.scenario import Scenario
from simulator.caller import Voice

_DIGITS = ("zero", "one", "two", "three", "four", "five", "seven", "nine")
"""On the telephone, "six" and "eight" sound alike."""
_ORDER_DIGITS = 4
MOST_CALLS = len(_DIGITS) ** _ORDER_DIGITS
_PARTIES = ("three", "four", "five", "seven")
_DAYS = ("tuesday", "wednesday", "thursday", "friday", "saturday")
_HOURS = ("seven", "nine", "ten")
_MENU = "what is on your menu"
"""Its answer is long enough to be interrupted."""


@dataclass(frozen=True, slots=True)
class Line:
    """Something to say, and the right answer to it."""

    said: str
    mulaw: bytes
    """How it sounds, 8 kHz."""
    words: tuple[str, ...]
    """The right answer, as `shared.phrases.normalize` writes it."""
    over: bool = False
    """It is said over the answer to the line before."""


@dataclass(frozen=True, slots=True)
class Script:
    """The lines of one call, said over and over."""

    lines: tuple[Line, ...]

    def cycled(self) -> Iterator[Line]:
        """Without an end."""
        return (self.lines[place % len(self.lines)] for place in count())


@lru_cache(4096)
def _spoken(text: str) -> bytes:
    return Voice().render(text)


def _texts(number: int, rng: random.Random) -> list[tuple[str, bool]]:
    """(text, whether it is said over the answer before), a quarter of them over an answer."""
    digits = [_DIGITS[number // len(_DIGITS) ** place % len(_DIGITS)] for place in range(_ORDER_DIGITS)]
    return [
        (f"my order number is {' '.join(digits)}", False),
        (_MENU, False),
        ("what was my order number", True),
        (f"I would like to book a table for {rng.choice(_PARTIES)} people", False),
        (f"on {rng.choice(_DAYS)} at {rng.choice(_HOURS)} o'clock please", False),
        (_MENU, False),
        ("what did I book", True),
        ("what was my order number", False),
    ]


def scripts(scenario: Scenario, calls: int, seed: int) -> list[Script]:
    """A script for each call; no two of them have the same order number. Raises shared.espeak.SpeechError.

    Raises ValueError for more than MOST_CALLS.
    """
    rng = random.Random(seed)
    return [_script(scenario, _texts(number, rng)) for number in rng.sample(range(MOST_CALLS), calls)]


def _script(scenario: Scenario, texts: list[tuple[str, bool]]) -> Script:
    said = [text for text, _ in texts]
    answers = [scenario.respond(said[: place + 1]) for place in range(len(said))]
    return Script(
        tuple(
            Line(text, _spoken(text), tuple(normalize(answer).split()), over)
            for (text, over), answer in zip(texts, answers, strict=True)
        )
    )


def clips(all_scripts: list[Script]) -> dict[str, bytes]:
    """The sound of each text, to teach a recogniser."""
    return {line.said: line.mulaw for script in all_scripts for line in script.lines}
