"""Deepgram as a provider: live transcription through its SDK.

The SDK takes a fifth of a second to import: import this module only when it is used.
"""

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TypeVar

from services.stt.provider import Failure, Listener, Transcriber
from services.stt.providers.deepgram_flux import DeepgramFlux
from services.stt.providers.deepgram_line import DeepgramLine, Patience
from services.stt.providers.deepgram_options import FLUX, eot_timeout_ms, flux_options, nova_options
from services.stt.providers.deepgram_refusals import refusal, unreachable
from services.stt.providers.deepgram_sdk import (
    AsyncDeepgramClient,
    AsyncV1SocketClient,
    AsyncV2SocketClient,
    DeepgramClientEnvironment,
)
from services.stt.providers.deepgram_socket import DeepgramSocket, InvalidStatus, WebSocketException, under
from services.stt.providers.deepgram_stream import DeepgramStream
from shared.agents import AgentProfile, SttProfile
from shared.deadline import within
from shared.settings import Settings

Socket = TypeVar("Socket", AsyncV1SocketClient, AsyncV2SocketClient)


class Deepgram:
    """An account at Deepgram, or at a stand-in: recognition for many calls."""

    def __init__(self, settings: Settings, patience: Patience | None = None) -> None:
        """Uses the key and the base URL."""
        http = settings.deepgram_base_url
        socket = http.replace("http", "ws", 1)
        environment = DeepgramClientEnvironment(base=http, production=socket, agent=socket, agent_rest=http)
        self._client = AsyncDeepgramClient(
            api_key=settings.deepgram_api_key.get_secret_value(),
            environment=environment,
            transport_factory=DeepgramSocket,
        )
        self._connect_s = settings.provider_connect_s
        self._patience = patience or Patience()

    async def open_transcriber(self, profile: AgentProfile, listener: Listener, failure: Failure) -> Transcriber:
        """A stream for one call: Flux when the profile names a model of that family. Raises CannotServe."""
        stt, stack = profile.stt, AsyncExitStack()
        if stt.model.startswith(FLUX):
            flux = await self._open(stt, stack, self._client.listen.v2.connect(**flux_options(profile)))
            line = DeepgramLine(flux, stack, failure)
            return DeepgramFlux(stt.model, flux, line, listener, self._patience, eot_timeout_ms(profile))
        nova = await self._open(stt, stack, self._client.listen.v1.connect(**nova_options(profile)))
        return DeepgramStream(stt.model, nova, DeepgramLine(nova, stack, failure), listener, self._patience)

    async def _open(
        self, stt: SttProfile, stack: AsyncExitStack, socket: AbstractAsyncContextManager[Socket]
    ) -> Socket:
        try:
            client = await stack.enter_async_context(socket)
            async with within(self._connect_s):
                await under(client).open(self._connect_s)
        except BaseException as error:
            await stack.aclose()
            if isinstance(error, TimeoutError):
                raise unreachable("no answer", "timeout") from None
            if isinstance(error, InvalidStatus):
                raise refusal(stt, error) from None
            if isinstance(error, WebSocketException | OSError):
                raise unreachable(type(error).__name__) from error
            raise
        return client
