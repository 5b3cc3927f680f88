"""Agent profiles: who answers which number, how it thinks, sounds and takes turns."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.ids import check_name
from shared.turn_taking import TurnProfile

Pipeline = Literal["cascade", "echo"]
STAGES: dict[Pipeline, tuple[str, ...]] = {"cascade": ("stt", "llm", "tts"), "echo": ("speech",)}
"""The stages that a call of each pipeline is leased to."""

Name = Annotated[str, AfterValidator(check_name)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SttChoice(_Part):
    """A provider that hears. `provider` empty: the process's STT_PROVIDER."""

    provider: Literal["", "offline", "deepgram"] = ""
    model: str = "nova-3"
    """Of Deepgram; one that begins with `flux-` finds the end of a turn by itself."""
    language: str = "en"
    keyterms: tuple[str, ...] = ()
    """Names and words that the provider should expect."""


class SttProfile(SttChoice):
    """How the agent hears."""

    fallbacks: tuple[SttChoice, ...] = ()
    """Tried in this order when the provider fails, also in mid-call."""


class LlmChoice(_Part):
    """A provider that thinks. `provider` empty: the process's LLM_PROVIDER."""

    provider: Literal["", "offline", "openai"] = ""
    model: str = "gpt-6-luna"
    temperature: float | None = Field(default=None, ge=0, le=2)
    reasoning_effort: str | None = "none"
    """Not sent when null; the vendor takes tools (to end a call) with "none" only, and answers at once then."""


class LlmProfile(LlmChoice):
    """How the agent thinks."""

    fallbacks: tuple[LlmChoice, ...] = ()
    """Tried in this order when the provider fails, also in mid-call."""
    max_reply_chars: int = Field(default=300, ge=20, le=4000)
    """A reply ends at the last sentence that fits: nobody listens to an essay on the phone."""
    max_memory_turns: int = Field(default=40, ge=2, le=400)
    """Only the newest messages of the conversation go to the model and into memory."""


class TtsChoice(_Part):
    """A provider that speaks. `provider` empty: the process's TTS_PROVIDER."""

    provider: Literal["", "offline", "elevenlabs"] = ""
    model: str = "eleven_flash_v2_5"
    voice: str = ""
    """The provider's name or id of the voice; empty: the provider's default."""
    speed: float = Field(default=1.0, ge=0.5, le=2.0)


class TtsProfile(TtsChoice):
    """How the agent sounds."""

    fallbacks: tuple[TtsChoice, ...] = ()
    """Tried in this order when the provider fails, also in mid-call."""


class AgentProfile(_Part):
    """Everything that makes one agent; it travels with every lease request."""

    name: Name
    company: str = ""
    numbers: tuple[str, ...] = ()
    """Dialled numbers (E.164) that this agent answers."""
    pipeline: Pipeline = "cascade"
    prompt: str = "You are a friendly person on the phone. Answer in one or two short sentences."
    greeting: str = ""
    scenario: Name = "bella"
    """The offline providers' script: `scenarios/<name>.yaml`."""
    stt: SttProfile = SttProfile()
    llm: LlmProfile = LlmProfile()
    tts: TtsProfile = TtsProfile()
    turns: TurnProfile = TurnProfile()
    max_call_s: float = Field(default=3600.0, ge=1, le=24 * 3600)
    """The call ends after so long, whatever happens; MAX_CALL_S of the gateway limits it further."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that a call of this agent is leased to."""
        return STAGES[self.pipeline]


class AgentsFileError(ValueError):
    """The agents file cannot be used; the message names the file and the place."""


class Directory(_Part):
    """All agents of a deployment and which of them answers which number."""

    default: Name
    agents: tuple[AgentProfile, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> "Directory":
        names = [agent.name for agent in self.agents]
        numbers = [number for agent in self.agents for number in agent.numbers]
        for what, values in (("agent name", names), ("number", numbers)):
            twice = {value for value in values if values.count(value) > 1}
            if twice:
                raise ValueError(f"{what} given twice: {', '.join(sorted(twice))}")
        if self.default not in names:
            raise ValueError(f"default agent {self.default!r} is not among {', '.join(names)}")
        return self

    def by_number(self, dialled: str) -> AgentProfile:
        """The agent that answers `dialled`, else the default one."""
        by_default = self.agents[0]
        for agent in self.agents:
            if dialled in agent.numbers:
                return agent
            if agent.name == self.default:
                by_default = agent
        return by_default


def load(path: Path) -> Directory:
    """Read an agents file (YAML: `default: NAME`, `agents: {NAME: {…}}`). Raises AgentsFileError."""
    try:
        document = yaml.safe_load(path.read_text())
        agents = [{"name": name, **(body or {})} for name, body in document["agents"].items()]
        return Directory.model_validate({**document, "agents": agents})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise AgentsFileError(f"{path}: {place or 'agents'}: {first['msg']}") from error
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise AgentsFileError(f"{path}: {error or type(error).__name__}") from error


class AgentsFile:
    """The agents file as it is now: an edit takes effect on the next call."""

    def __init__(self, path: Path) -> None:
        """Raises AgentsFileError when the file cannot be used."""
        self._path = path
        self._read_at = self._modified()
        self._directory = load(path)

    def _modified(self) -> float:
        try:
            return self._path.stat().st_mtime
        except OSError:
            return 0.0

    def refresh(self) -> Directory:
        """The directory, read again if the file has changed.

        Raises AgentsFileError once for an edit that cannot be used; the agents before it stay.
        """
        modified = self._modified()
        if modified != self._read_at:
            self._read_at = modified
            self._directory = load(self._path)
        return self._directory

    @property
    def directory(self) -> Directory:
        """The agents as last read."""
        return self._directory
