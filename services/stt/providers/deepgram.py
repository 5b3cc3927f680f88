"""Deepgram as a provider: live transcription through its SDK.

The SDK takes a fifth of a second to import: import this module only when it is used.
"""

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import structlog
from websockets.exceptions import WebSocketException

from services.stt.provider import Failure, Listener
from services.stt.providers.deepgram_sdk import (
    ApiError,
    AsyncDeepgramClient,
    AsyncV1SocketClient,
    DeepgramClientEnvironment,
)
from services.stt.providers.deepgram_stream import DeepgramStream, Patience
from shared.agents import AgentProfile, SttProfile
from shared.audio import RATE
from shared.settings import Settings
from shared.stage import CannotServe

log = structlog.get_logger()

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

    async def open_transcriber(self, profile: AgentProfile, listener: Listener, failure: Failure) -> DeepgramStream:
        """A stream for one call. Raises CannotServe."""
        stt = profile.stt
        stack = AsyncExitStack()
        connecting = asyncio.create_task(stack.enter_async_context(self._connect(stt)))
        try:
            await asyncio.wait([connecting], timeout=CONNECT_S)
        except asyncio.CancelledError:
            self._abandon(connecting, stack)
            raise
        if not connecting.done():
            self._abandon(connecting, stack)
            raise _unreachable("no answer")
        try:
            socket = connecting.result()
        except ApiError as error:
            # Not chained: it holds the headers of the request.
            raise _refusal(stt, error) from None
        except (WebSocketException, OSError) as error:
            raise _unreachable(type(error).__name__) from error
        return DeepgramStream(stt.model, socket, stack, listener, failure, self._patience)

    def _abandon(self, connecting: "asyncio.Task[AsyncV1SocketClient]", stack: AsyncExitStack) -> None:
        """Cancel without waiting: the library first waits for the peer to close, up to ten seconds."""

        async def end() -> None:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
            await stack.aclose()

        task = asyncio.create_task(end())
        self._abandoned.add(task)
        task.add_done_callback(self._abandoned.discard)

    def _connect(self, stt: SttProfile) -> AbstractAsyncContextManager[AsyncV1SocketClient]:
        connecting: AbstractAsyncContextManager[AsyncV1SocketClient] = self._client.listen.v1.connect(
            model=stt.model,
            language=stt.language,
            keyterm=list(stt.keyterms) or None,
            encoding="mulaw",
            sample_rate=RATE,
            channels=1,
            interim_results=True,
            smart_format=True,
            # Finalize ends every utterance; Deepgram's own cuts would only split numbers and names.
            endpointing=False,
        )
        return connecting


def _unreachable(reason: str) -> CannotServe:
    return CannotServe(f"Deepgram cannot be reached ({reason}): check the network and DEEPGRAM_BASE_URL")


def _refusal(stt: SttProfile, error: ApiError) -> CannotServe:
    status = error.status_code
    # The SDK drops what Deepgram says; the refused handshake behind its error still has it.
    headers = getattr(error.__context__, "headers", None) or {}
    said = str(headers.get("dg-error", ""))[:200]
    reason = f"HTTP {status}: {said}" if said else f"HTTP {status}"
    log.warning("deepgram_refused", status=status, request=headers.get("dg-request-id"))
    if status == 401:
        return CannotServe("Deepgram refused the key: set DEEPGRAM_API_KEY to a valid one")
    if status == 403:
        return CannotServe(
            f"Deepgram does not let this key use the model {stt.model!r} ({reason}): "
            "set DEEPGRAM_API_KEY to one that may, or stt.model of the agent to another"
        )
    if status in (400, 404):
        return CannotServe(
            f"Deepgram refused the model {stt.model!r} with the language {stt.language!r} ({reason}): "
            "set stt.model and stt.language of the agent to ones that it streams"
        )
    return CannotServe(f"Deepgram refused a socket ({reason}): see the account, and try again later")
