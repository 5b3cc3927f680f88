"""The tts stage: which voice speaks in a call."""

from services.tts.greetings import Greetings
from services.tts.provider import Open
from services.tts.providers import offline
from services.tts.session import TtsSession
from shared.call import Call
from shared.settings import Settings
from shared.stage import CannotServe


class TtsStage:
    """Gives each call the voice that its agent's profile names, else the one of the settings."""

    name = "tts"

    def __init__(self, settings: Settings) -> None:
        """A vendor serves when its key is set."""
        self._default = settings.tts
        self._greetings = Greetings()
        self._providers: dict[str, Open] = {"offline": offline.open_voice}
        if settings.elevenlabs_api_key.get_secret_value():
            # Its SDK takes a third of a second and some 30 MB: not in a process that speaks offline.
            from services.tts.providers.elevenlabs import ElevenLabs

            self._providers["elevenlabs"] = ElevenLabs(settings).open_voice

    async def open(self, call: Call) -> TtsSession:
        provider = call.profile.tts.provider or self._default
        if provider not in self._providers:
            raise CannotServe(f"the agent speaks through {provider}: set {provider.upper()}_API_KEY for its workers")
        session = TtsSession(call, provider, self._greetings)
        synthesizer = await self._providers[provider](call.profile.tts, session.deliver, call.fail)
        try:
            await session.begin(synthesizer)
        except BaseException:
            await synthesizer.close()
            raise
        return session
