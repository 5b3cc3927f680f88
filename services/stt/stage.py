"""The stt stage: which recogniser hears a call."""

import asyncio
from collections.abc import Callable

from services.stt.provider import Open
from services.stt.providers import offline
from services.stt.session import SttSession
from services.stt.vad import Silero, VadBatcher
from shared.call import Call
from shared.settings import Settings
from shared.stage import CannotServe

_GATHER_S = 0.005
"""How long a window waits for those of other calls, so that they share an inference."""


def _soon(work: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(_GATHER_S, work)


class SttStage:
    """Gives each call the recogniser that its agent's profile names, else the one of the settings."""

    name = "stt"

    def __init__(self, settings: Settings) -> None:
        """A vendor serves when its key is set."""
        self._default = settings.stt
        self._vad = VadBatcher(Silero(), _soon)
        self._providers: dict[str, Open] = {"offline": offline.open_transcriber}
        if settings.deepgram_api_key.get_secret_value():
            # Its SDK takes a fifth of a second and some 40 MB: not in a process that listens offline.
            from services.stt.providers.deepgram import Deepgram

            self._providers["deepgram"] = Deepgram(settings).open_transcriber

    async def open(self, call: Call) -> SttSession:
        provider = call.profile.stt.provider or self._default
        if provider not in self._providers:
            raise CannotServe(f"the agent listens through {provider}: set {provider.upper()}_API_KEY for its workers")
        session = SttSession(call, provider, self._vad)
        transcriber = await self._providers[provider](call.profile, session.hear, call.fail)
        try:
            await session.begin(transcriber)
        except BaseException:
            await transcriber.close()
            raise
        return session
