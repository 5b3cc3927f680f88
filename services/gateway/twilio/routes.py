"""Twilio's three doors: the voice webhook, the status callback and the media socket."""

from urllib.parse import parse_qsl, urlsplit, urlunsplit

import structlog
from fastapi import APIRouter, Request, Response, WebSocket

from services.gateway.switchboard import Connect, Over, Switchboard
from services.gateway.twilio import twiml
from services.gateway.twilio.signature import SignatureCheck
from services.gateway.twilio.socket import POLICY_VIOLATION, Refused, TwilioMedia, receive_start
from shared.bus import BusError
from shared.ids import InvalidId, check_call_id

log = structlog.get_logger()

MAX_BODY = 64 * 1024
SORRY = "We are sorry, we cannot take your call right now. Please call again in a few minutes. Goodbye."
_OVER = {"completed", "busy", "failed", "no-answer", "canceled"}


class BadRequest(Exception):
    """The request is not one of Twilio's; `status` and the text say why."""

    def __init__(self, status: int, reason: str) -> None:
        """`status` is the HTTP status to answer with."""
        super().__init__(reason)
        self.status = status


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise BadRequest(413, "body too large")
    return bytes(body)


class TwilioRoutes:
    """The routes, bound to a switchboard."""

    def __init__(self, switchboard: Switchboard, signatures: SignatureCheck, public_url: str) -> None:
        """`public_url` is the address that Twilio knows; empty: that of each request."""
        self._switchboard = switchboard
        self._signatures = signatures
        self._public_url = public_url
        self.router = APIRouter(prefix="/twilio")
        self.router.add_api_route("/voice", self.voice, methods=["POST"])
        self.router.add_api_route("/status", self.status, methods=["POST"])
        self.router.add_api_websocket_route("/media/{call_id}", self.media)

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
            raise BadRequest(
                403,
                "wrong signature or account: are TWILIO_AUTH_TOKEN and TWILIO_ACCOUNT_SID right, "
                "and is PUBLIC_URL the webhook's address?",
            )
        try:
            check_call_id(form.get("CallSid", ""))
        except InvalidId as error:
            raise BadRequest(400, f"CallSid: {error}") from error
        return form

    async def voice(self, request: Request) -> Response:
        """A call rings, or its media socket closed and Twilio asks what to do next."""
        try:
            form = await self._form(request)
        except BadRequest as error:
            return Response(str(error), status_code=error.status, media_type="text/plain")
        call_id = form["CallSid"]
        try:
            answer = await self._switchboard.answer(call_id, form.get("From", ""), form.get("To", ""))
        except BusError as error:
            log.error("call_not_answered", call_id=call_id, reason=str(error))
            return Response(twiml.say_and_hang_up(SORRY), media_type=twiml.CONTENT_TYPE)
        if isinstance(answer, Connect):
            document = self._stream(request, call_id, answer)
        else:
            document = twiml.hang_up() if isinstance(answer, Over) else twiml.say_and_hang_up(SORRY)
        return Response(document, media_type=twiml.CONTENT_TYPE)

    def _stream(self, request: Request, call_id: str, answer: Connect) -> bytes:
        again = self._address(request)
        scheme, host, *_ = urlsplit(again)
        socket_scheme = "wss" if scheme == "https" else "ws"
        url = urlunsplit((socket_scheme, host, f"/twilio/media/{call_id}", "", ""))
        return twiml.connect(url, {"call_id": call_id, "agent": answer.agent, "token": answer.token}, again)

    async def status(self, request: Request) -> Response:
        """Twilio's status callback: a call that is over is ended here too."""
        try:
            form = await self._form(request)
            if form.get("CallStatus") in _OVER:
                await self._switchboard.end(form["CallSid"], "caller_hung_up")
        except BadRequest as error:
            return Response(str(error), status_code=error.status, media_type="text/plain")
        except BusError as error:
            log.error("status_not_handled", call_id=form["CallSid"], reason=str(error))
            return Response(status_code=503)
        return Response(status_code=204)

    async def media(self, websocket: WebSocket, call_id: str) -> None:
        """Twilio's media socket: one line of the call."""
        await websocket.accept()
        try:
            check_call_id(call_id)
            start = await receive_start(websocket)
            if start.call_id != call_id:
                raise Refused("start names another call")
            media = TwilioMedia(websocket, start)
            line = await self._switchboard.connect(call_id, start.token, media)
            if line is None:
                raise Refused("wrong or used token")
        except (InvalidId, Refused, BusError) as error:
            log.warning("media_socket_refused", call_id=call_id[:64], reason=str(error))
            await _refuse(websocket)
            return
        end = await self._switchboard.carry(line)
        await media.close(end)


async def _refuse(websocket: WebSocket) -> None:
    try:
        await websocket.close(POLICY_VIOLATION)
    except RuntimeError:
        # The peer closed first.
        return
