"""Whether a deployment answers at the address that Twilio shall call, and trusts this account.

A production Ingress lets nothing but `/twilio` through, so the webhooks themselves are asked, in ways that touch no
call: the gateway looks at the signature before anything else, and a status that is not a call's last changes nothing.
"""

import socket
import ssl
from collections.abc import Mapping
from http.client import HTTPException, HTTPSConnection
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from twilio.request_validator import RequestValidator

from services.gateway.twilio.number import STATUS_PATH, VOICE_PATH
from services.gateway.twilio.signature import REFUSAL

_TIMEOUT_S = 15.0
"""Twilio waits no longer for a webhook."""
_REFUSED = 403
_TAKEN = 204
_MAX_TEXT = 4096


class Unfit(Exception):
    """Calls would not be answered there; the message, one line, says why."""


class Deployment:
    """The gateways behind one public address."""

    def __init__(
        self,
        url: str,
        account_sid: str,
        auth_token: str,
        trust: ssl.SSLContext | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        """`url`: the deployment's PUBLIC_URL, without a slash at its end. `trust`: whose certificates are believed,
        if not those of the system's authorities. `timeout_s`: for each step of a request."""
        self._url = url
        self._account = {"AccountSid": account_sid}
        self._validator = RequestValidator(auth_token)
        self._trust = trust or ssl.create_default_context()
        self._timeout_s = timeout_s

    def check(self) -> None:
        """A request without a signature must be refused, one that is signed as Twilio's taken. Raises Unfit."""
        # Without a call id, a gateway that checks no signatures answers 400 and does not take it for a call.
        status, text = self._post(VOICE_PATH, self._account)
        if status != _REFUSED:
            raise Unfit(f"{self._url}{VOICE_PATH} {_unsigned(status, text)}")
        form = {**self._account, "CallSid": f"CA{uuid4().hex}", "CallStatus": "in-progress"}
        signature = self._validator.compute_signature(self._url + STATUS_PATH, form)
        status, text = self._post(STATUS_PATH, form, {"X-Twilio-Signature": signature})
        if status != _TAKEN:
            raise Unfit(f"{self._url}{STATUS_PATH} {self._signed(status, text)}")

    def _post(self, path: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """The answer's status, and the beginning of its text or, of a redirect, the address it leads to."""
        there = urlsplit(self._url)
        connection = HTTPSConnection(there.hostname or "", there.port, timeout=self._timeout_s, context=self._trust)
        try:
            form_headers = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
            connection.request("POST", path, urlencode(form), form_headers)
            answer = connection.getresponse()
            text = answer.read(_MAX_TEXT).decode(errors="replace")
            return answer.status, answer.headers.get("Location", text)
        except (OSError, HTTPException) as error:
            raise Unfit(f"{self._url}: {_why(error)}") from error
        finally:
            connection.close()

    def _signed(self, status: int, text: str) -> str:
        if status != _REFUSED:
            return _strange(status, text, _TAKEN)
        if text != REFUSAL:
            return "is refused before it reaches the gateway (403): let Twilio's POST requests to /twilio through"
        return (
            "refuses what this account signs: the deployment needs the TWILIO_AUTH_TOKEN and TWILIO_ACCOUNT_SID "
            f"of this account, and PUBLIC_URL={self._url}"
        )


def _why(error: OSError | HTTPException) -> str:
    match error:
        case TimeoutError():
            return "no answer in time"
        case socket.gaierror():
            return "no such host is known here"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not valid ({error.verify_message})"
        case ssl.SSLError():
            return "no https there"
        case HTTPException() | ConnectionResetError() | BrokenPipeError():
            return f"the connection broke ({error or type(error).__name__})"
        case _:
            return f"no connection ({error.strerror or error})"


def _unsigned(status: int, text: str) -> str:
    if status == 400:
        return "takes requests without a signature: set TWILIO_AUTH_TOKEN there, and ALLOW_UNSIGNED=false"
    if status == 429:
        return "has refused too many requests (429): try again in a minute"
    return _strange(status, text, _REFUSED)


def _strange(status: int, text: str, expected: int) -> str:
    match status:
        case 301 | 302 | 303 | 307 | 308:
            return f"redirects to {' '.join(text.split())[:200]}: Twilio needs the address that answers itself"
        case 404 | 405:
            return f"is not a gateway's ({status}): is /twilio passed on to the gateway, with its path?"
        case 502 | 503 | 504:
            return f"has no gateway behind it ({status}): does one run, and does its /ready say so?"
        case _:
            return f"answers {status} where a gateway answers {expected}: what is served there?"
