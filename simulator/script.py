"""What callers say and what is right to answer: from the scenario, from the command line, from a file."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared.agents import AgentProfile
from shared.espeak import trim
from shared.pcm import read_wav
from shared.scenario import Scenario
from shared.scenario import load as load_scenario
from simulator.caller import Voice
from simulator.conversation import Line
from simulator.verdict import Expected, rendered

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Writer:
    """Writes lines for calls to one agent."""

    agent: AgentProfile
    voice: Voice = field(default_factory=Voice)
    any_answer: bool = False
    """The words of the answers are not known: real providers."""

    @property
    def _scenario(self) -> Scenario:
        return load_scenario(self.agent.scenario)

    def _expected(self, text: str) -> Expected:
        scenario = self._scenario
        if self.any_answer:
            return Expected(wrong=scenario.fallback)
        speed = round(Voice().words_per_minute * self.agent.tts.speed)
        sounds = rendered(text, Voice(self.agent.tts.voice or Voice().name, speed))
        return Expected(text, wrong=scenario.fallback, sounds=sounds)

    def _line(self, said: str, hear: str) -> Line:
        mulaw = self.voice.render(said)
        if self.agent.pipeline == "echo":
            return Line(said, mulaw, Expected(sounds=(mulaw,), dialogue=False))
        return Line(said, mulaw, self._expected(hear))

    def scripted(self) -> list[Line]:
        """The scenario's own conversation."""
        return [self._line(line.say, line.hear) for line in self._scenario.script]

    def said(self, texts: Sequence[str]) -> list[Line]:
        """These lines, answered as the scenario answers them. Raises ValueError for an empty one."""
        for text in texts:
            if not self.voice.render(text):
                raise ValueError(f"nothing to say in {text!r}")
        return [self._line(text, self._scenario.respond(texts[: n + 1])) for n, text in enumerate(texts)]

    def played(self, path: Path) -> Line:
        """A recording: any answer is right but the fallback. Raises shared.pcm.BadAudio or ValueError."""
        mulaw = trim(read_wav(path))
        if not mulaw:
            raise ValueError(f"{path}: nothing can be heard in it")
        echo = self.agent.pipeline == "echo"
        return Line(path.name, mulaw, Expected(wrong=self._scenario.fallback, dialogue=not echo))

    def order(self, number: int) -> list[Line]:
        """Two turns that only this caller's memory answers right; `number` has up to four digits."""
        digits = " ".join(_DIGITS[int(digit)] for digit in f"{number:04d}")
        return self.said([f"my order number is {digits}", "what was my order number"])
