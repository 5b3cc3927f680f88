"""A scenario: what callers may ask, and what the agent then says. One file feeds the offline
recogniser's grammar, the offline replies and the simulated caller, so that they cannot drift apart."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from string import Formatter

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared import phrases
from shared.ids import check_name

FOLDER = Path(__file__).parent.parent / "scenarios"


class ScenarioError(ValueError):
    """A scenario file cannot be used; the message names the file and the place."""


class Intent(BaseModel):
    """One thing that a caller may want."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    phrases: tuple[str, ...] = Field(min_length=1)
    reply: str
    """May name slots, as in `A table for {party}.`"""
    keys: tuple[str, ...] = ()
    """Phrases for pressed keys, as in `{digit} {digit}`. Nobody says them, so they are not among `trees`."""
    missing: str = ""
    """Said instead when a slot that the reply names was not heard yet."""
    ends_call: bool = False
    """The agent hangs up when its reply was heard."""


class Line(BaseModel):
    """One turn of the scripted caller."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    say: str
    hear: str
    """The agent's right answer, word for word."""


class Scenario(BaseModel):
    """A scenario file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    slots: dict[str, tuple[str, ...]] = {}
    """The spoken values of each slot."""
    intents: tuple[Intent, ...] = Field(min_length=1)
    sayings: tuple[str, ...] = ()
    """What callers may say besides: it means nothing by itself, but the offline recogniser hears nothing that it was
    not told to expect."""
    fallback: str
    """Said when nothing matches."""
    script: tuple[Line, ...] = ()
    """The conversation that `make call` holds."""

    @model_validator(mode="after")
    def _can_be_said_and_heard(self) -> "Scenario":
        for name, values in self.slots.items():
            for value in values:
                if not value or phrases.normalize(value) != value:
                    raise ValueError(f"the value {value!r} of the slot {name!r} can never be heard: use a-z and '")
        for intent in self.intents:
            for _, slot, _, _ in Formatter().parse(intent.reply):
                if slot is not None and slot not in self.slots:
                    raise ValueError(f"the reply of {intent.name!r} names the slot {slot!r}, not among `slots`")
        return self

    def trees(self) -> dict[str, tuple[phrases.Sequence_, ...]]:
        """The parsed phrases by intent; those of no intent under an empty name."""
        said = {intent.name: intent.phrases for intent in self.intents} | {"": self.sayings}
        return {name: tuple(phrases.parse(text) for text in texts) for name, texts in said.items()}

    def understand(self, text: str) -> tuple[Intent, dict[str, str]] | None:
        """The intent of what a caller said and the slots heard in it; None when nothing matches.

        A phrase that covers the whole text wins over one that is only a part of it, a longer part over a
        shorter one. Pressed keys are written `keys 1 2 3`.
        """
        spoken = phrases.normalize(text) + " "
        best: tuple[int, Intent, dict[str, str]] | None = None
        for intent, pattern, groups in _patterns(self):
            match = pattern.search(" " + spoken)
            if match is None:
                continue
            length = len(match[0])
            if best is None or length > best[0]:
                best = (length, intent, _filled(groups, match.groups()))
        return None if best is None else (best[1], best[2])

    def respond(self, said: Sequence[str]) -> str:
        """The agent's reply to the last of the caller's turns `said`; earlier ones fill slots."""
        known: dict[str, str] = {}
        intent: Intent | None = None
        for text in said:
            understood = self.understand(text)
            intent = understood[0] if understood else None
            known.update(understood[1] if understood else {})
        if intent is None:
            return self.fallback
        try:
            return intent.reply.format_map(known)
        except KeyError:
            return intent.missing or self.fallback

    def ends_call(self, said: Sequence[str]) -> bool:
        """Whether the last of the caller's turns `said` ends the conversation."""
        understood = self.understand(said[-1]) if said else None
        return understood is not None and understood[0].ends_call

    def __hash__(self) -> int:
        """By identity: scenarios are loaded once."""
        return id(self)


def _filled(groups: Sequence[str], values: Sequence[str | None]) -> dict[str, str]:
    slots: dict[str, list[str]] = {}
    for name, value in zip(groups, values, strict=True):
        if value is not None:
            slots.setdefault(name, []).append(value.strip())
    return {name: " ".join(parts) for name, parts in slots.items()}


_PRESSED = "keys "
_NO_MORE_KEYS = rf"(?!(?:{'|'.join(phrases.DIGITS)}) )"


@cache
def _patterns(scenario: Scenario) -> list[tuple[Intent, re.Pattern[str], list[str]]]:
    slots: Mapping[str, Sequence[str]] = scenario.slots
    compiled = []
    for intent in scenario.intents:
        said = [(tree, "", "") for tree in scenario.trees()[intent.name]]
        pressed = [(phrases.parse(text), _PRESSED, _NO_MORE_KEYS) for text in intent.keys]
        for tree, before, behind in (*said, *pressed):
            groups: list[str] = []
            pattern = phrases.to_regex(tree, slots, groups)
            compiled.append((intent, re.compile(f" {before}{pattern}{behind}"), groups))
    return compiled


def names() -> list[str]:
    """The scenarios that can be loaded."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


@cache
def load(name: str) -> Scenario:
    """The scenario `scenarios/<name>.yaml`. Raises ScenarioError or InvalidId."""
    path = FOLDER / f"{check_name(name)}.yaml"
    try:
        scenario = Scenario.model_validate(yaml.safe_load(path.read_text()))
        _patterns(scenario)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ScenarioError(f"{path.name}: {place or 'scenario'}: {first['msg']}") from error
    except KeyError as error:
        raise ScenarioError(f"{path.name}: a phrase names the slot {error}, which is not among `slots`") from error
    except (OSError, yaml.YAMLError, phrases.PhraseError) as error:
        raise ScenarioError(f"{path.name}: {error}") from error
    return scenario
