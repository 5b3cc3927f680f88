"""A stand-in for Deepgram: live transcription (listen v1, and Flux by listen v2) of phrases that it was taught.

Source: Deepgram's API reference ("Live Audio", "Turn-based Audio (Flux)", "Errors").
"""

import asyncio
import uuid
from typing import Any

from aiohttp import web
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError

from shared.espeak import SpeechError
from simulator.ear import PhraseBook
from simulator.standins.behaviour import Behaviour
from simulator.standins.deepgram_connection import Connection, Habits
from simulator.standins.deepgram_flux_socket import Flux, FluxOptions
from simulator.standins.deepgram_socket import Live, Options
from simulator.standins.faults import abort, hang

_MODELS = {
    f"{family}{variant}"
    for family, variants in (
        ("nova-3", ("", "-general", "-medical")),
        ("nova-2", ("", "-general", "-phonecall", "-conversationalai", "-medical")),
    )
    for variant in variants
}


class _Clip(BaseModel):
    """The very sound of a phrase, as a caller will send it."""

    model_config = ConfigDict(extra="forbid")

    text: str
    mulaw: Base64Bytes
    """8 kHz μ-law."""


class _Lesson(BaseModel):
    """The body of `POST /standins/phrases`."""

    model_config = ConfigDict(extra="forbid")

    texts: list[str] = []
    """Spoken by espeak-ng, in `voice`."""
    clips: list[_Clip] = []
    voice: str = "en-us"
    words_per_minute: int = Field(default=165, ge=80, le=450)


def _problem(status: int, code: str, message: str) -> web.Response:
    request_id = str(uuid.uuid4())
    body = {"err_code": code, "err_msg": message, "request_id": request_id}
    return web.json_response(body, status=status, headers={"dg-request-id": request_id, "dg-error": message})


def _query(request: web.Request) -> dict[str, Any]:
    repeated = {name: tuple(request.query.getall(name, [])) for name in ("keyterm", "language_hint")}
    return {**{name: request.query[name] for name in request.query}, **repeated}


def _complaint(error: ValidationError) -> ValueError:
    first = error.errors()[0]
    return ValueError(f"Invalid query parameter '{first['loc'][0]}': {first['msg']}")


def _options(request: web.Request) -> Options:
    """Raises ValueError with the vendor's complaint."""
    try:
        options = Options.model_validate(_query(request))
    except ValidationError as error:
        raise _complaint(error) from error
    if options.model not in _MODELS:
        raise ValueError("No such model/language/tier combination found.")
    if options.keyterm and not options.model.startswith("nova-3"):
        raise ValueError("Keyterms are only supported for Nova-3.")
    if options.utterance_end_ms is not None and not options.interim_results:
        raise ValueError("utterance_end_ms needs interim_results=true.")
    return options


def _flux_options(request: web.Request) -> FluxOptions:
    """Raises ValueError with the vendor's complaint."""
    try:
        options = FluxOptions.model_validate(_query(request))
    except ValidationError as error:
        raise _complaint(error) from error
    if options.language_hint and options.model != "flux-general-multi":
        raise ValueError("language_hint is only supported for flux-general-multi.")
    if options.eager_eot_threshold is not None and options.eager_eot_threshold > options.eot_threshold:
        raise ValueError("eager_eot_threshold must not be above eot_threshold.")
    return options


async def _failing(request: web.Request, behaviour: Behaviour) -> web.Response | None:
    """What a request gets from a vendor that fails; nothing at all when it hangs."""
    match behaviour.stt_fault:
        case "hang":
            await hang()
        case "drop":
            abort(request)
            return web.Response()
        case "429":
            return _problem(429, "TOO_MANY_REQUESTS", "Too many requests. Please try again later.")
        case "500":
            return _problem(500, "INTERNAL_SERVER_ERROR", "Something went wrong on our side.")
    return None


async def _teach(book: PhraseBook, lesson: _Lesson) -> None:
    """Raises SpeechError or ValueError."""
    if not lesson.texts and not lesson.clips:
        raise ValueError("texts or clips: at least one expected")
    for clip in lesson.clips:
        book.learn_clip(clip.text, clip.mulaw)
    for text in lesson.texts:
        await asyncio.to_thread(book.learn, text, lesson.voice, lesson.words_per_minute)


def add_routes(app: web.Application, behaviour: Behaviour, book: PhraseBook, habits: Habits | None = None) -> None:
    """Serve Deepgram's paths, and `POST /standins/phrases` that teaches `book`, from `app`."""

    async def listen(request: web.Request) -> web.StreamResponse:
        if (failing := await _failing(request, behaviour)) is not None:
            return failing
        if request.headers.get("Authorization", "").split(" ") != ["Token", behaviour.api_key]:
            return _problem(401, "INVALID_AUTH", "Invalid credentials.")
        connection: Connection[Any]
        try:
            if request.path == "/v2/listen":
                connection = Flux(_flux_options(request), behaviour, book, habits or Habits())
            else:
                connection = Live(_options(request), behaviour, book, habits or Habits())
        except ValueError as error:
            return _problem(400, "INVALID_QUERY_PARAMETER", str(error))
        return await connection.run(request)

    async def learn(request: web.Request) -> web.Response:
        try:
            lesson = _Lesson.model_validate_json(await request.read())
            await _teach(book, lesson)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            return web.json_response({"error": f"{place or 'body'}: {first['msg']}"}, status=400)
        except (SpeechError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"learned": len(lesson.texts) + len(lesson.clips)})

    app.router.add_get("/v1/listen", listen)
    app.router.add_get("/v2/listen", listen)
    app.router.add_post("/standins/phrases", learn)
