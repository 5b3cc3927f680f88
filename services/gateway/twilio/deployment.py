"""Whether a deployment answers at the address that Twilio shall call, and trusts this account.

A production Ingress lets nothing but `/twilio` through, so the webhooks themselves are asked, in ways that touch no
call: the gateway looks at the signature before anything else, and a status that is not a call's last changes nothing.
"""

import asyncio
import ssl
from uuid import uuid4

import aiohttp
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
        if not those of the system's authorities. `timeout_s`: for each request."""
        self._url = url
        self._account = {"AccountSid": account_sid}
        self._validator = RequestValidator(auth_token)
        self._trust = trust
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    def check(self) -> None:
        """A request without a signature must be refused, one that is signed as Twilio's taken. Raises Unfit."""
        asyncio.run(self._check())

    async def _check(self) -> None:
        async with aiohttp.ClientSession(timeout=self._timeout) as http:
            # Without a call id, a gateway that checks no signatures answers 400 and does not take it for a call.
            status, text = await self._post(http, VOICE_PATH, self._account)
            if status != _REFUSED:
                raise Unfit(f"{self._url}{VOICE_PATH} {_unsigned(status, text)}")
            form = {**self._account, "CallSid": f"CA{uuid4().hex}", "CallStatus": "in-progress"}
            signature = self._validator.compute_signature(self._url + STATUS_PATH, form)
            status, text = await self._post(http, STATUS_PATH, form, {"X-Twilio-Signature": signature})
            if status != _TAKEN:
                raise Unfit(f"{self._url}{STATUS_PATH} {self._signed(status, text)}")

    async def _post(
        self, http: aiohttp.ClientSession, path: str, form: dict[str, str], headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """The answer's status, and the beginning of its text or, of a redirect, the address it leads to."""
        url = self._url + path
        trust = True if self._trust is None else self._trust
        try:
            async with http.post(url, data=form, headers=headers, allow_redirects=False, ssl=trust) as answer:
                text = (await answer.content.read(_MAX_TEXT)).decode(errors="replace")
                return answer.status, answer.headers.get("Location", text)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unfit(f"{self._url}: {_why(error)}") from error

    def _signed(self, status: int, text: str) -> str:
        if status != _REFUSED:
            return _strange(status, text, _TAKEN)
        if text != REFUSAL:
            return "is refused before it reaches the gateway (403): let Twilio's POST requests to /twilio through"
        return (
            "refuses what this account signs: the deployment needs the TWILIO_AUTH_TOKEN and TWILIO_ACCOUNT_SID "
            f"of this account, and PUBLIC_URL={self._url}"
        )


def _why(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "no answer in time"
        case aiohttp.ClientConnectorDNSError():
            return "no such host is known here"
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not valid ({error.certificate_error})"
        case aiohttp.ClientConnectorSSLError():
            return "no https there"
        case aiohttp.ClientConnectorError():
            return f"no connection ({error.os_error.strerror or error.os_error})"
        case _:
            return f"the connection broke ({error or type(error).__name__})"


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
