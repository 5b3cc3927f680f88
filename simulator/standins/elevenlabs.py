"""A stand-in for ElevenLabs: its speech endpoints, spoken by espeak-ng as μ-law at 8 kHz.

Source: ElevenLabs' API reference ("Multi-Context WebSocket", "Stream speech", "Get voice").
"""

import asyncio

from aiohttp import web

from simulator.standins.behaviour import Behaviour
from simulator.standins.elevenlabs_socket import OUTPUT_FORMAT, Connection
from simulator.standins.elevenlabs_speech import VOICES, chunks, speak_as
from simulator.standins.faults import abort, hang

_SOCKETLESS_MODELS = ("eleven_v3",)
"""The handshake of their sockets is answered 403."""


def _problem(status: int, kind: str, code: str, message: str) -> web.Response:
    detail = {"type": kind, "code": code, "status": code, "message": message}
    return web.json_response({"detail": detail}, status=status)


def _refusal(request: web.Request, behaviour: Behaviour) -> web.Response | None:
    """Why an HTTP request is not served, as the vendor says it."""
    if request.headers.get("xi-api-key") != behaviour.api_key:
        return _problem(401, "authentication_error", "invalid_api_key", "Invalid API key")
    voice_id = request.match_info["voice_id"]
    if voice_id not in VOICES:
        return _problem(404, "not_found", "voice_not_found", f"A voice with the voice_id {voice_id} was not found.")
    return None


async def _failing(request: web.Request, behaviour: Behaviour) -> web.Response | None:
    """What a request gets from a vendor that fails; nothing at all when it hangs."""
    match behaviour.tts_fault:
        case "hang":
            await hang()
        case "drop":
            abort(request)
            return web.Response()
        case "429":
            return _problem(429, "rate_limit_error", "rate_limit_exceeded", "Too many requests.")
        case "500":
            return _problem(500, "internal_error", "internal_error", "Something went wrong on our side.")
    return None


async def _stream(request: web.Request, behaviour: Behaviour) -> web.StreamResponse:
    if (refusal := await _failing(request, behaviour) or _refusal(request, behaviour)) is not None:
        return refusal
    text = (await request.json()).get("text")
    if not isinstance(text, str):
        missing = {"loc": ["body", "text"], "msg": "Field required", "type": "missing"}
        return web.json_response({"detail": [missing]}, status=422)
    if request.query.get("output_format") != OUTPUT_FORMAT:
        return _problem(400, "validation_error", "output_format_not_allowed", f"only {OUTPUT_FORMAT} here")
    speech = await speak_as(behaviour.tts_voice, text, request.match_info["voice_id"])
    await asyncio.sleep(behaviour.tts_first_audio_ms / 1000)
    response = web.StreamResponse(headers={"Content-Type": "audio/basic", "character-cost": str(len(text))})
    await response.prepare(request)
    for chunk in chunks(speech, text):
        await response.write(chunk.mulaw)
    await response.write_eof()
    return response


def add_routes(app: web.Application, behaviour: Behaviour) -> None:
    """Serve ElevenLabs' paths from `app`."""

    async def multi_stream(request: web.Request) -> web.StreamResponse:
        if (failing := await _failing(request, behaviour)) is not None:
            return failing
        if request.query.get("model_id") in _SOCKETLESS_MODELS:
            return web.Response(status=403)
        return await Connection(request, behaviour).run(request)

    async def stream(request: web.Request) -> web.StreamResponse:
        return await _stream(request, behaviour)

    async def voice(request: web.Request) -> web.StreamResponse:
        if behaviour.tts_fault == "garbage":
            return web.Response(text="<html>It works!</html>", content_type="text/html")
        found = {"voice_id": request.match_info["voice_id"], "name": "Stand-in", "category": "premade"}
        return await _failing(request, behaviour) or _refusal(request, behaviour) or web.json_response(found)

    app.router.add_get("/v1/text-to-speech/{voice_id}/multi-stream-input", multi_stream)
    app.router.add_post("/v1/text-to-speech/{voice_id}/stream", stream)
    app.router.add_get("/v1/voices/{voice_id}", voice)
