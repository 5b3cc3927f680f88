"""ElevenLabs as a provider: is the voice there, and sockets that speak it.

Protocol: ElevenLabs, "Multi-Context WebSocket" (/v1/text-to-speech/{voice_id}/multi-stream-input). The SDK's
own TTS sockets are synchronous and wss only, so the socket is raw. The SDK asks for the voice, because the socket
accepts any key and any voice, and tells of a wrong one only after the first text.
"""

import asyncio
from functools import partial
from urllib.parse import quote

import aiohttp
import httpx
import structlog
from elevenlabs.client import AsyncElevenLabs
from elevenlabs.core.api_error import ApiError

from services.tts.provider import Failure, Listener
from services.tts.providers.elevenlabs_socket import CLOSE_S, ElevenLabsSocket, Socket
from services.tts.providers.elevenlabs_voice import ElevenLabsVoice
from shared.agents import TtsProfile
from shared.deadline import within
from shared.provider_errors import Unavailable
from shared.settings import Settings
from shared.stage import CannotServe

log = structlog.get_logger()

# "Sarah", one of the premade voices that every account has.
DEFAULT_VOICE = "EXAVITQu4vr4xnSDxMaL"
_HEARTBEAT_S = 15.0
"""Pings keep the way through NATs open and find a dead peer; ElevenLabs does not count them as activity."""
_INACTIVITY_S = 180
"""The longest silence that ElevenLabs grants a socket; the next reply opens a new one."""
_MAX_MESSAGE_BYTES = 16 * 1024 * 1024
_REFUSALS = (400, 401, 403, 404, 422)


class ElevenLabs:
    """An account at ElevenLabs, or at a stand-in: voices for many calls."""

    def __init__(self, settings: Settings) -> None:
        """Uses the key and the base URL."""
        self._key = settings.elevenlabs_api_key.get_secret_value()
        self._base_url = settings.elevenlabs_base_url
        self._connect_s = settings.provider_connect_s
        # Reading the root certificates takes 20 ms, the client and the SDK take one more: once a process, not once a
        # call. Each call makes one request: no connection is kept, so there is none to close.
        http = httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0))
        self._sdk = AsyncElevenLabs(api_key=self._key, base_url=self._base_url, httpx_client=http)

    async def open_voice(self, profile: TtsProfile, listener: Listener, failure: Failure) -> ElevenLabsVoice:
        """The voice that `profile` names, its socket open. Raises CannotServe."""
        name = quote(profile.voice or DEFAULT_VOICE, safe="")
        connect = partial(self._connect, name, profile.model)
        voice = ElevenLabsVoice(connect, profile, listener, failure)
        starting = asyncio.create_task(voice.start())
        try:
            await self._check(name)
            await starting
        except BaseException:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await voice.close()
            raise
        return voice

    async def _check(self, voice: str) -> None:
        """Raises CannotServe when the key or the voice is refused; anything less clear is left to the socket."""
        try:
            async with within(self._connect_s):
                await self._sdk.voices.get(voice, request_options={"max_retries": 0})
        except ApiError as error:
            self._judge(voice, error)
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            log.warning("elevenlabs_voice_not_checked", error=repr(error))

    def _judge(self, voice: str, error: ApiError) -> None:
        reason = str(error.body)
        if error.status_code not in _REFUSALS or "missing_permissions" in reason:
            # A key may be allowed to speak and not to read voices.
            log.warning("elevenlabs_voice_not_checked", status=error.status_code)
        elif error.status_code == 401 or "api_key" in reason:
            raise CannotServe("ElevenLabs refused the key: set ELEVENLABS_API_KEY to a valid one") from None
        else:
            raise CannotServe(
                f"ElevenLabs has no voice {voice!r} for this key: set tts.voice of the agent to one it may use"
            ) from None

    async def _connect(self, voice: str, model: str) -> Socket:
        """Open a socket. Raises CannotServe."""
        http = aiohttp.ClientSession()
        try:
            async with within(self._connect_s):
                socket = await http.ws_connect(
                    f"{self._base_url.replace('http', 'ws', 1)}/v1/text-to-speech/{voice}/multi-stream-input",
                    params={
                        "model_id": model,
                        "output_format": "ulaw_8000",
                        "auto_mode": "true",
                        "sync_alignment": "true",
                        "inactivity_timeout": str(_INACTIVITY_S),
                    },
                    headers={"xi-api-key": self._key},
                    heartbeat=_HEARTBEAT_S,
                    max_msg_size=_MAX_MESSAGE_BYTES,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
                )
        except aiohttp.WSServerHandshakeError as error:
            await http.close()
            if error.status not in _REFUSALS:
                sentence = f"ElevenLabs refused a socket (HTTP {error.status}): see the account, and try again later"
                raise Unavailable(sentence, f"status_{error.status}") from None
            raise CannotServe(
                f"ElevenLabs refused a socket for the model {model!r} (HTTP {error.status}): "
                "set tts.model of the agent to one that streams, and check ELEVENLABS_API_KEY"
            ) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            await http.close()
            raise Unavailable(
                f"ElevenLabs cannot be reached ({type(error).__name__}): check the network and ELEVENLABS_BASE_URL",
                "timeout" if isinstance(error, TimeoutError) else "connection",
            ) from error
        except BaseException:
            await http.close()
            raise
        return ElevenLabsSocket(http, socket)
