"""Which language model a call gets."""

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING

from services.llm.provider import ChatModel
from services.llm.providers.offline import OfflineModel
from shared import scenario
from shared.agents import AgentProfile
from shared.ids import InvalidId
from shared.scenario import ScenarioError
from shared.settings import Settings
from shared.stage import CannotServe

if TYPE_CHECKING:
    from services.llm.providers.openai import OpenAiModels

_OPENAI = "services.llm.providers.openai"


class Models:
    """Opens a model for each call; what the calls of a worker share lives here."""

    def __init__(self, settings: Settings) -> None:
        """Imports the SDK now (half a second) if the settings choose it."""
        self._settings = settings
        self._openai: OpenAiModels | None = None
        if settings.llm == "openai":
            import_module(_OPENAI)

    async def open(self, profile: AgentProfile) -> tuple[str, ChatModel]:
        """The name of the provider that `profile` or else the settings choose, and its model.

        Raises CannotServe when a key or the scenario is missing, or the vendor refuses.
        """
        provider = profile.llm.provider or self._settings.llm
        return provider, (await self._vendor(profile) if provider == "openai" else _offline(profile))

    async def _vendor(self, profile: AgentProfile) -> ChatModel:
        if not self._settings.openai_api_key.get_secret_value():
            raise CannotServe(f"set OPENAI_API_KEY: the agent {profile.name!r} thinks with the provider 'openai'")
        if self._openai is None:
            # In a thread, because the import would hold up the other calls of this worker.
            module = await asyncio.to_thread(import_module, _OPENAI)
            self._openai = self._openai or module.OpenAiModels(self._settings)
        return await self._openai.open(profile.llm)

    async def close(self) -> None:
        """Close the connections that the calls shared."""
        if self._openai is not None:
            await self._openai.close()


def _offline(profile: AgentProfile) -> ChatModel:
    try:
        return OfflineModel(scenario.load(profile.scenario))
    except (ScenarioError, InvalidId) as error:
        raise CannotServe(
            f"set `scenario` of the agent {profile.name!r} to one that can be loaded, or LLM_PROVIDER=openai: {error}"
        ) from error
