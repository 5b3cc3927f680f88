"""Deepgram as a provider: live transcription through its SDK.

The SDK takes a fifth of a second to import: import this module only when it is used.
"""

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TypeVar

from websockets.exceptions import WebSocketException

from services.stt.provider import Failure, Listener, Transcriber
from services.stt.providers.deepgram_flux import DeepgramFlux
from services.stt.providers.deepgram_line import DeepgramLine, Patience
from services.stt.providers.deepgram_options import FLUX, eot_timeout_ms, flux_options, nova_options
from services.stt.providers.deepgram_refusals import refusal, unreachable
from services.stt.providers.deepgram_sdk import ApiError, AsyncDeepgramClient, DeepgramClientEnvironment
from services.stt.providers.deepgram_stream import DeepgramStream
from shared.agents import AgentProfile, SttProfile
from shared.settings import Settings

Socket = TypeVar("Socket")

CONNECT_S = 2.5


class Deepgram:
    """An account at Deepgram, or at a stand-in: recognition for many calls."""

    def __init__(self, settings: Settings, patience: Patience | None = None) -> None:
        """Uses the key and the base URL."""
        http = settings.deepgram_base_url
        socket = http.replace("http", "ws", 1)
        environment = DeepgramClientEnvironment(base=http, production=socket, agent=socket, agent_rest=http)
        self._client = AsyncDeepgramClient(
            api_key=settings.deepgram_api_key.get_secret_value(), environment=environment
        )
        self._patience = patience or Patience()
        self._abandoned: set[asyncio.Task[None]] = set()

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
        connecting = asyncio.create_task(stack.enter_async_context(socket))
        try:
            await asyncio.wait([connecting], timeout=CONNECT_S)
        except asyncio.CancelledError:
            self._abandon(connecting, stack)
            raise
        if not connecting.done():
            self._abandon(connecting, stack)
            raise unreachable("no answer")
        try:
            return connecting.result()
        except ApiError as error:
            # Not chained: it holds the headers of the request.
            raise refusal(stt, error) from None
        except (WebSocketException, OSError) as error:
            raise unreachable(type(error).__name__) from error

    def _abandon(self, connecting: "asyncio.Task[Socket]", stack: AsyncExitStack) -> None:
        """Cancel without waiting: the library first waits for the peer to close, up to ten seconds."""

        async def end() -> None:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
            await stack.aclose()

        task = asyncio.create_task(end())
        self._abandoned.add(task)
        task.add_done_callback(self._abandoned.discard)
