"""The tts stage: which voice speaks in a call."""

from services.tts.greetings import Greetings
from services.tts.provider import Failure, Listener, Open, Synthesizer
from services.tts.providers import offline
from services.tts.resilient import Choice, ResilientVoice
from services.tts.session import TtsSession
from shared.agents import TtsProfile
from shared.breakers import Breakers
from shared.call import Call
from shared.settings import Settings
from shared.stage import CannotServe


class TtsStage:
    """Gives each call the voices that its agent's profile names, one after the other."""

    name = "tts"

    def __init__(self, settings: Settings, breakers: Breakers | None = None) -> None:
        """A vendor serves when its key is set. A profile that names no provider gets the one of the settings."""
        self._default = settings.tts
        self._answer_s = settings.provider_answer_s
        self._breakers = breakers or Breakers(settings)
        self._greetings = Greetings()
        self._providers: dict[str, Open] = {"offline": offline.open_voice}
        if settings.elevenlabs_api_key.get_secret_value():
            # Its SDK takes a third of a second and some 30 MB: not in a process that speaks offline.
            from services.tts.providers.elevenlabs import ElevenLabs

            self._providers["elevenlabs"] = ElevenLabs(settings).open_voice

    async def open(self, call: Call) -> TtsSession:
        voice = ResilientVoice(call.id, self._choices(call.profile.tts), self._breakers, call.fail, self._answer_s)
        await voice.open()
        try:
            session = TtsSession(call, voice.provider, self._greetings)
            voice.listener = session.deliver
            await session.begin(voice)
        except BaseException:
            await voice.close()
            raise
        return session

    def _choices(self, profile: TtsProfile) -> list[Choice]:
        """The profile's voice, and those that take its place when it fails."""
        choices = []
        for wanted in (profile, *profile.fallbacks):
            provider = wanted.provider or self._default
            tts = TtsProfile(**wanted.model_dump(exclude={"fallbacks"}))
            choices.append(Choice(provider, tts, self._providers.get(provider) or _without_key(provider)))
        return choices


def _without_key(provider: str) -> Open:
    async def refuse(profile: TtsProfile, listener: Listener, failure: Failure) -> Synthesizer:
        raise CannotServe(f"the agent speaks through {provider}: set {provider.upper()}_API_KEY for its workers")

    return refuse
