"""The stt stage: which recogniser hears a call."""

import asyncio
from collections.abc import Callable

from services.stt.provider import Failure, Listener, Open, Transcriber
from services.stt.providers import offline
from services.stt.resilient import Choice, ResilientTranscriber
from services.stt.session import SttSession
from services.stt.silero import Silero
from services.stt.vad import VadBatcher
from shared.agents import AgentProfile, SttProfile
from shared.breakers import Breakers
from shared.call import Call
from shared.settings import Settings
from shared.stage import CannotServe

_GATHER_S = 0.010
"""How long a window waits for those of other calls, so that they share an inference."""


def _soon(work: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(_GATHER_S, work)


class SttStage:
    """Gives each call the recognisers that its agent's profile names, one after the other."""

    name = "stt"

    def __init__(self, settings: Settings, breakers: Breakers | None = None) -> None:
        """A vendor serves when its key is set. A profile that names no provider gets the one of the settings."""
        self._default = settings.stt
        self._answer_s = settings.provider_answer_s
        self._breakers = breakers or Breakers(settings)
        self._vad = VadBatcher(Silero(), _soon)
        if self._default == "offline":
            offline.prepare()
        self._providers: dict[str, Open] = {"offline": offline.open_transcriber}
        if settings.deepgram_api_key.get_secret_value():
            # Its SDK takes a fifth of a second and some 40 MB: not in a process that listens offline.
            from services.stt.providers.deepgram import Deepgram

            self._providers["deepgram"] = Deepgram(settings).open_transcriber

    async def open(self, call: Call) -> SttSession:
        transcriber = ResilientTranscriber(
            call.id, self._choices(call.profile), self._breakers, call.fail, self._answer_s
        )
        await transcriber.open()
        try:
            session = SttSession(call, self._vad)
            transcriber.listener = session.hear
            await session.begin(transcriber)
        except BaseException:
            await transcriber.close()
            raise
        return session

    def _choices(self, profile: AgentProfile) -> list[Choice]:
        """The profile's recogniser, and those that take its place when it fails."""
        choices = []
        for wanted in (profile.stt, *profile.stt.fallbacks):
            provider = wanted.provider or self._default
            stt = SttProfile(**wanted.model_dump(exclude={"fallbacks"}))
            opened = self._providers.get(provider) or _without_key(provider)
            choices.append(Choice(provider, profile.model_copy(update={"stt": stt}), opened))
        return choices


def _without_key(provider: str) -> Open:
    async def refuse(profile: AgentProfile, listener: Listener, failure: Failure) -> Transcriber:
        raise CannotServe(f"the agent listens through {provider}: set {provider.upper()}_API_KEY for its workers")

    return refuse
