"""Twilio's three doors: the voice webhook, the status callback and the media socket."""

from urllib.parse import parse_qsl, urlsplit, urlunsplit

import structlog
from fastapi import APIRouter, Request, Response

from services.gateway.admission import Busy, SendOn, Wait
from services.gateway.reception import Outcome, Reception, TooMany
from services.gateway.switchboard import Connect, Over, Switchboard
from services.gateway.twilio import sounds, twiml
from services.gateway.twilio.media_server import MEDIA_PATH
from services.gateway.twilio.media_socket import MediaSocket
from services.gateway.twilio.signature import REFUSAL, SignatureCheck
from services.gateway.twilio.socket import POLICY_VIOLATION, Refused, TwilioMedia, receive_start
from shared.bus import BusError
from shared.ids import InvalidId, check_call_id

log = structlog.get_logger()

MAX_BODY = 64 * 1024
_TOO_MANY = "too many calls from this address"
SORRY = "We are sorry, we cannot take your call right now. Please call again in a few minutes. Goodbye."
_PAUSE_S = 4
"""Between two questions of a caller who waits; with what is said in between less than the list remembers."""
_OVER = {"completed", "busy", "failed", "no-answer", "canceled"}


class BadRequest(Exception):
    """The request is not one of Twilio's; `status` and the text say why."""

    def __init__(self, status: int, reason: str) -> None:
        """`status` is the HTTP status to answer with."""
        super().__init__(reason)
        self.status = status


def _source(request: Request) -> str:
    """The peer's address; a trusted proxy tells its own peer's."""
    return request.client.host if request.client else ""


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise BadRequest(413, "body too large")
    return bytes(body)


class TwilioRoutes:
    """The routes, bound to a switchboard."""

    def __init__(
        self, switchboard: Switchboard, reception: Reception, signatures: SignatureCheck, public_url: str
    ) -> None:
        """`public_url` is the address that Twilio knows; empty: that of each request."""
        self._switchboard = switchboard
        self._reception = reception
        self._signatures = signatures
        self._public_url = public_url
        self.router = APIRouter(prefix="/twilio")
        self.router.add_api_route("/voice", self.voice, methods=["POST"])
        self.router.add_api_route("/status", self.status, methods=["POST"])

    def _address(self, request: Request) -> str:
        """The URL of this request as the carrier wrote it."""
        if not self._public_url:
            return str(request.url)
        query = f"?{request.url.query}" if request.url.query else ""
        return f"{self._public_url}{request.url.path}{query}"

    async def _form(self, request: Request) -> dict[str, str]:
        try:
            form = dict(parse_qsl((await _body(request)).decode(), keep_blank_values=True))
        except UnicodeDecodeError as error:
            raise BadRequest(400, "the body is not a form") from error
        signature = request.headers.get("X-Twilio-Signature", "")
        if not self._signatures.passes(self._address(request), form, signature):
            log.warning("signature_refused", path=request.url.path)
            if not self._reception.stranger(_source(request)):
                raise BadRequest(429, _TOO_MANY)
            raise BadRequest(403, REFUSAL)
        try:
            check_call_id(form.get("CallSid", ""))
        except InvalidId as error:
            raise BadRequest(400, f"CallSid: {error}") from error
        return form

    async def voice(self, request: Request) -> Response:
        """A call rings, its media socket closed and Twilio asks what to do next, or a caller waits."""
        try:
            form = await self._form(request)
        except BadRequest as error:
            return self._answer(str(error), error.status, "text/plain")
        call_id, caller, dialled = form["CallSid"], form.get("From", ""), form.get("To", "")
        try:
            outcome = await self._reception.answer(call_id, caller, dialled, _source(request))
        except BusError as error:
            log.error("call_not_answered", call_id=call_id, reason=str(error))
            return self._answer(twiml.say_and_hang_up(SORRY))
        if outcome == TooMany("source"):
            return self._answer(_TOO_MANY, 429, "text/plain")
        return self._answer(self._document(request, call_id, outcome))

    def _answer(self, content: bytes | str, status: int = 200, media_type: str = twiml.CONTENT_TYPE) -> Response:
        # The carrier's next connection leads to a gateway that stays.
        headers = {"Connection": "close"} if self._switchboard.draining else None
        return Response(content, status, headers, media_type)

    def _document(self, request: Request, call_id: str, outcome: Outcome) -> bytes:
        match outcome:
            case Connect():
                return self._stream(request, call_id, outcome)
            case Wait():
                return self._wait(request, outcome)
            case Busy():
                return twiml.play_and_hang_up(self._url(request, f"/twilio/sounds/{sounds.BUSY}"))
            case SendOn(number):
                return twiml.dial(number)
            case TooMany():
                return twiml.reject()
            case Over():
                return twiml.hang_up()
            case _:
                return twiml.say_and_hang_up(SORRY)

    def _wait(self, request: Request, place: Wait) -> bytes:
        sound = self._url(request, f"/twilio/sounds/{sounds.HOLD}") if place.greet else ""
        sentence = f"You are number {place.position} in the line." if place.tell else ""
        return twiml.wait(self._address(request), _PAUSE_S, sound, sentence)

    def _stream(self, request: Request, call_id: str, answer: Connect) -> bytes:
        url = self._url(request, f"{MEDIA_PATH}{call_id}")
        socket_url = f"ws{url.removeprefix('http')}"
        return twiml.connect(
            socket_url, {"call_id": call_id, "agent": answer.agent, "token": answer.token}, self._address(request)
        )

    def _url(self, request: Request, path: str) -> str:
        """Another address of this gateway, as the carrier writes it."""
        scheme, host, *_ = urlsplit(self._address(request))
        return urlunsplit((scheme, host, path, "", ""))

    async def status(self, request: Request) -> Response:
        """Twilio's status callback: a call that is over is ended here too."""
        try:
            form = await self._form(request)
            if form.get("CallStatus") in _OVER:
                await self._reception.over(form["CallSid"])
        except BadRequest as error:
            return self._answer(str(error), error.status, "text/plain")
        except BusError as error:
            log.error("status_not_handled", call_id=form["CallSid"], reason=str(error))
            return self._answer(b"", 503)
        return self._answer(b"", 204)

    async def media(self, socket: MediaSocket, call_id: str) -> None:
        """Twilio's media socket: one line of the call."""
        try:
            check_call_id(call_id)
            start = await receive_start(socket)
            if start.call_id != call_id:
                raise Refused("start names another call")
            media = TwilioMedia(socket, start)
            opened = await self._switchboard.connect(call_id, start.token, media)
            if opened is None:
                raise Refused("wrong or used token")
        except (InvalidId, Refused, BusError) as error:
            log.warning("media_socket_refused", call_id=call_id[:64], reason=str(error))
            socket.close(POLICY_VIOLATION)
            return
        end = await self._switchboard.carry(opened)
        await media.close(end)
