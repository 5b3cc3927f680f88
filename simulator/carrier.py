"""The carrier's side of the webhooks: signed form posts, and the fallback when a gateway does not answer.

Source: Twilio, "Security: validating requests" (X-Twilio-Signature) and the Voice webhook parameters.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp
from twilio.request_validator import RequestValidator

WEBHOOK_TIMEOUT_S = 15.0
"""Twilio gives up on a webhook after 15 s."""


class WebhookFailed(Exception):
    """No gateway gave a usable answer to a webhook; the message says what each one did."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """The system that the carrier calls."""

    url: str
    """Without a slash at its end: `http://host:port`."""
    auth_token: str = field(repr=False)
    account_sid: str = "AC" + "0" * 32
    fallbacks: Sequence[str] = ()
    """Base URLs of other gateways, asked when one does not answer: Twilio's fallback URL, or the load balancer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A webhook's answer and the URL that gave it."""

    url: str
    body: str


class Carrier:
    """Posts the webhooks of one call."""

    def __init__(self, http: aiohttp.ClientSession, gateway: Gateway, call_sid: str, caller: str, dialled: str) -> None:
        """`call_sid` is "CA" and 32 hex digits; `caller` and `dialled` are E.164 numbers."""
        self.gateway = gateway
        self._http = http
        self._validator = RequestValidator(gateway.auth_token)
        self._form = {
            "CallSid": call_sid,
            "AccountSid": gateway.account_sid,
            "From": caller,
            "To": dialled,
            "Caller": caller,
            "Called": dialled,
            "Direction": "inbound",
            "ApiVersion": "2010-04-01",
        }

    def signature(self, url: str, form: dict[str, str] | None = None) -> str:
        """What goes into `X-Twilio-Signature`."""
        return str(self._validator.compute_signature(url, form or {}))

    async def voice(self, status: str, url: str = "") -> Answer:
        """Ask what to do with the call. Raises WebhookFailed."""
        return await self._post(url or f"{self.gateway.url}/twilio/voice", {"CallStatus": status})

    async def completed(self, seconds: float) -> None:
        """Say that the call is over. Raises WebhookFailed."""
        form = {"CallStatus": "completed", "CallDuration": str(round(seconds))}
        await self._post(f"{self.gateway.url}/twilio/status", form)

    async def _post(self, url: str, extra: dict[str, str]) -> Answer:
        path = urlsplit(url).path
        failures: list[str] = []
        for candidate in dict.fromkeys([url, *(base + path for base in self.gateway.fallbacks)]):
            try:
                return Answer(candidate, await self._post_once(candidate, {**self._form, **extra}))
            except (aiohttp.ClientError, TimeoutError, OSError, WebhookFailed) as error:
                failures.append(f"POST {candidate}: {error or type(error).__name__}")
        raise WebhookFailed("; ".join(failures))

    async def _post_once(self, url: str, form: dict[str, str]) -> str:
        headers = {"X-Twilio-Signature": self.signature(url, form), "User-Agent": "TwilioProxy/1.1"}
        async with asyncio.timeout(WEBHOOK_TIMEOUT_S):
            async with self._http.post(url, data=form, headers=headers) as response:
                body = await response.text()
        if response.status >= 400:
            raise WebhookFailed(f"status {response.status}: {' '.join(body.split())[:200]}")
        return body
