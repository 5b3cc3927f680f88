"""The script of a rehearsal: the YAML file as a model. The package's docstring explains every key."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from shared.phrases import normalize
from shared.turn_taking import TurnProfile

MODIFIERS = ("over_reply_ms", "at_once")


class ScreenplayError(ValueError):
    """A script cannot be used; the message names the file, the step and the key."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _sentence(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _can_be_said(parts: tuple[str | int, ...]) -> tuple[str | int, ...]:
    texts = [part for part in parts if isinstance(part, str)]
    if not texts or not all(normalize(text) for text in texts):
        raise ValueError("words to say expected")
    if not all(20 <= part <= 60_000 for part in parts if not isinstance(part, str)):
        raise ValueError("a pause lasts 20 to 60000 ms")
    return parts


def _usable(turns: dict[str, Any]) -> dict[str, Any]:
    try:
        TurnProfile().changed(turns)
    except ValidationError as error:
        raise ValueError(_first(error, lambda place: ".".join(map(str, place)))) from error
    return turns


def _first(error: ValidationError, name: Any) -> str:
    first = error.errors()[0]
    place = name(first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])


Sentence = Annotated[tuple[str | int, ...], BeforeValidator(_sentence), AfterValidator(_can_be_said)]
"""Words, and pauses in ms between them."""
Texts = Annotated[tuple[str, ...], BeforeValidator(_sentence), Field(min_length=1)]
Turns = Annotated[dict[str, Any], AfterValidator(_usable)]


class Nothing(_Part):
    """An action that needs no more words."""


class Cough(_Part):
    """A burst of noise; `seed` chooses which."""

    ms: int = Field(default=300, ge=100, le=60_000)
    seed: int = 1


class Throat(_Part):
    """Clearing the throat."""

    ms: int = Field(default=450, ge=100, le=60_000)


class Hum(_Part):
    """A voice without words."""

    ms: int = Field(default=500, ge=100, le=60_000)


class Noise(_Part):
    """Noise of the room; `seed` chooses which."""

    ms: int = Field(default=500, ge=100, le=60_000)
    seed: int = 1


class Lasting(_Part):
    """Something that lasts `s` seconds."""

    s: float = Field(gt=0, le=600)


class EchoPath(_Part):
    """How the caller's phone returns what it plays."""

    delay_ms: int = Field(default=150, ge=20, le=2000)
    gain_db: float = Field(default=-12.0, ge=-60, le=0)
    noise_db: float | None = Field(default=None, ge=-90, le=0)


class Words(_Part):
    """A part of the agent's words."""

    starts: str = ""
    contains: str = ""

    @model_validator(mode="after")
    def _one(self) -> "Words":
        if bool(normalize(self.starts)) == bool(normalize(self.contains)):
            raise ValueError("a text, `starts` or `contains` expected")
        return self


class Expect(_Part):
    """What must have come of the last action."""

    said: Texts | None = None
    heard: str | Words | None = None
    within_ms: int | None = Field(default=None, gt=0)
    after_ms: int | None = Field(default=None, gt=0)
    interrupted: bool | None = None
    stops_within_ms: int | None = Field(default=None, gt=0)
    resumes: Literal[True] | None = None
    silent: Literal[True] | None = None
    ended: str | None = None
    wait_s: float = Field(default=20.0, gt=0, le=600)

    @property
    def of_reply(self) -> bool:
        """It asks about a reply of the agent."""
        asked = (self.heard, self.within_ms, self.after_ms, self.interrupted, self.stops_within_ms, self.resumes)
        return any(part is not None for part in asked)

    @model_validator(mode="after")
    def _something(self) -> "Expect":
        if not (self.model_fields_set - {"wait_s"}):
            raise ValueError("nothing is expected")
        return self


class Step(_Part):
    """One action of the caller, or one expectation."""

    say: Sentence | None = None
    cough: Cough | None = None
    throat: Throat | None = None
    hum: Hum | None = None
    noise: Noise | None = None
    hold_music: Lasting | None = None
    press: str | None = Field(default=None, pattern=r"^[0-9A-D*#]+$")
    silence: Lasting | None = None
    echo: EchoPath | Literal[False] | None = None
    turns: Turns | None = None
    hear_greeting: Nothing | None = None
    hang_up: Nothing | None = None
    expect: Expect | None = None
    over_reply_ms: int | None = Field(default=None, ge=0, le=600_000)
    at_once: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: object) -> object:
        if isinstance(value, str):
            return {value: {}}
        if isinstance(value, Mapping):
            return {key: {} if part is None else part for key, part in value.items()}
        return value

    @model_validator(mode="after")
    def _one_action(self) -> "Step":
        named = [name for name in type(self).model_fields if name in self.model_fields_set and name not in MODIFIERS]
        if len(named) != 1:
            raise ValueError(f"one action or `expect` expected, not {' and '.join(named) or 'none'}")
        if self.expect is not None and self.model_fields_set & set(MODIFIERS):
            raise ValueError("`expect` takes no over_reply_ms and no at_once")
        return self

    @property
    def action(self) -> str:
        """What the step does: the name of its key."""
        return next(iter(self.model_fields_set - set(MODIFIERS)))

    def __str__(self) -> str:
        """As it is written in the file, for people."""
        shown = self.model_dump(mode="json", exclude_unset=True)
        action = shown.pop(self.action)
        words = " … ".join(part for part in self.say if isinstance(part, str)) if self.say else ""
        detail = f"“{words}”" if words else "off" if self.echo is False else _plain(action)
        more = ", ".join(f"{key} {value}" for key, value in shown.items())
        return " ".join(part for part in (self.action, detail, f"({more})" if more else "") if part)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(part)}" for key, part in value.items())
    if isinstance(value, list):
        return " | ".join(_plain(part) for part in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


class Screenplay(_Part):
    """A script."""

    title: str = Field(min_length=1)
    agent: str = ""
    turns: Turns = {}
    steps: tuple[Step, ...] = Field(min_length=1)

    def texts(self) -> list[str]:
        """All that the caller says: each piece between pauses, and each sentence as a whole."""
        said: dict[str, None] = {}
        for step in self.steps:
            pieces = [part for part in step.say or () if isinstance(part, str)]
            said.update(dict.fromkeys([*pieces, " ".join(pieces)] if pieces else []))
        return list(said)


def _place(location: tuple[int | str, ...]) -> str:
    if location[:1] == ("steps",) and len(location) > 1:
        return ": ".join(
            [f"step {int(location[1]) + 1}", *([".".join(map(str, location[2:]))] if location[2:] else [])]
        )
    return ".".join(map(str, location))


def load(path: Path) -> Screenplay:
    """Read a script. Raises ScreenplayError."""
    try:
        return Screenplay.model_validate(yaml.safe_load(path.read_text()))
    except ValidationError as error:
        raise ScreenplayError(f"{path}: {_first(error, _place)}") from error
    except OSError as error:
        raise ScreenplayError(f"{path}: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ScreenplayError(f"{path}: {line}{error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ScreenplayError(f"{path}: {error}") from error
