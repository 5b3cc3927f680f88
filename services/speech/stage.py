"""The speech stage: pipelines in which speech is answered with speech, without stt, llm and tts."""

from collections.abc import Awaitable, Callable

from services.speech import echo
from shared.breakers import Breakers
from shared.call import Call
from shared.holdings import Session
from shared.settings import Settings
from shared.stage import CannotServe

Open = Callable[[Call], Awaitable[Session]]
PIPELINES: dict[str, Open] = {"echo": echo.open_echo}
"""By the name in the agent's profile."""


class SpeechStage:
    """Gives each call the pipeline that its agent's profile names."""

    name = "speech"

    def __init__(self, settings: Settings, breakers: Breakers | None = None) -> None:
        """The echo needs no settings."""

    async def open(self, call: Call) -> Session:
        pipeline = call.profile.pipeline
        if pipeline not in PIPELINES:
            raise CannotServe(f"no speech pipeline {pipeline!r}: set pipeline of the agent to {', '.join(PIPELINES)}")
        return await PIPELINES[pipeline](call)
