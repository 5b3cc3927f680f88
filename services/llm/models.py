"""Which language models a call gets: the profile's choices, in order."""

import asyncio
import time
from importlib import import_module
from typing import TYPE_CHECKING

import structlog

from services.llm.provider import ChatModel, ProviderFailed
from services.llm.providers.offline import OfflineModel
from services.llm.resilient import Choice, ResilientModel
from shared import scenario
from shared.agents import AgentProfile, LlmProfile
from shared.breakers import Breakers
from shared.ids import InvalidId
from shared.metrics import PROVIDER_FAILURES
from shared.scenario import ScenarioError
from shared.settings import Settings
from shared.stage import CannotServe

if TYPE_CHECKING:
    from services.llm.providers.openai import OpenAiModels

log = structlog.get_logger()

_OPENAI = "services.llm.providers.openai"


class Models:
    """Opens the models of each call; what the calls of a worker share lives here."""

    def __init__(self, settings: Settings, breakers: Breakers | None = None) -> None:
        """Imports the SDK now (half a second) if the settings choose it."""
        self._settings = settings
        self._breakers = breakers or Breakers(settings)
        self._openai: OpenAiModels | None = None
        if settings.llm == "openai":
            import_module(_OPENAI)

    async def open(self, profile: AgentProfile) -> tuple[str, ChatModel]:
        """The name of the provider to be asked first, and a model that has the others to fall back on.

        Raises CannotServe when none can be used now; the message names each and why.
        """
        choices: list[Choice] = []
        unusable: list[str] = []
        asked = False
        for llm in _choices(profile.llm, self._settings.llm):
            try:
                choice = Choice(llm.provider, await self._model(profile, llm))
                # One that does not answer has cost the caller's patience: those after it are trusted.
                asked = asked or await self._works(choice, llm.model)
            except CannotServe as error:
                log.warning("llm_not_usable", agent=profile.name, provider=llm.provider, reason=str(error))
                unusable.append(str(error))
                continue
            choices.append(choice)
        resting = [choice.provider for choice in choices if self._breakers.rests(choice.breaker)]
        if len(resting) == len(choices):
            unusable += [f"the provider {provider!r} has failed and rests for now" for provider in resting]
            raise CannotServe("; ".join(unusable))
        model = ResilientModel(choices, self._breakers, self._settings)
        return model.provider, model

    async def _model(self, profile: AgentProfile, llm: LlmProfile) -> ChatModel:
        """The model of one choice. Raises CannotServe."""
        if llm.provider == "offline":
            return _offline(profile)
        if not self._settings.openai_api_key.get_secret_value():
            raise CannotServe(f"set OPENAI_API_KEY: the agent {profile.name!r} thinks with the provider 'openai'")
        if self._openai is None:
            # In a thread, because the import would hold up the other calls of this worker.
            module = await asyncio.to_thread(import_module, _OPENAI)
            self._openai = self._openai or module.OpenAiModels(self._settings)
        return self._openai.open(llm)

    async def _works(self, choice: Choice, model: str) -> bool:
        """Ask a vendor whether it would serve the model; whether it was asked. Raises CannotServe when it refuses."""
        if self._openai is None or choice.provider != "openai" or self._breakers.rests(choice.breaker):
            return choice.provider == "offline"
        try:
            await self._openai.check(model)
        except ProviderFailed as failure:
            # A compatible server need not list its models; a turn that fails goes to the next choice.
            log.warning("openai_model_not_checked", reason=str(failure))
            if failure.at_fault:
                choice.failed_at = time.monotonic()
                PROVIDER_FAILURES.labels("llm", choice.provider, failure.reason).inc()
                await self._breakers.failed(choice.breaker, failure.reason)
        return True

    async def close(self) -> None:
        """Close the connections that the calls shared."""
        if self._openai is not None:
            await self._openai.close()


def _choices(profile: LlmProfile, default: str) -> list[LlmProfile]:
    """The profile as each of its choices would have it, in order, with the provider named."""
    choices = [profile, *(profile.model_copy(update=choice.model_dump()) for choice in profile.fallbacks)]
    return [choice.model_copy(update={"provider": choice.provider or default, "fallbacks": ()}) for choice in choices]


def _offline(profile: AgentProfile) -> ChatModel:
    try:
        return OfflineModel(scenario.load(profile.scenario))
    except (ScenarioError, InvalidId) as error:
        raise CannotServe(
            f"set `scenario` of the agent {profile.name!r} to one that can be loaded, or LLM_PROVIDER=openai: {error}"
        ) from error
