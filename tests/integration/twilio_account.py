"""A stand-in for Twilio's REST API: the phone numbers of one account.

Source of the protocol: Twilio, "IncomingPhoneNumber resource", "Twilio API responses" (paging, errors) and the error
dictionary (20003, 20404, 21405).
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import web
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response

from tests.integration.gateway_peer import AUTH_TOKEN

SID = "AC0123456789abcdef0123456789abcdef"
_API = "https://api.twilio.com"
_FORM = {
    "VoiceUrl": "voice_url",
    "VoiceMethod": "voice_method",
    "VoiceFallbackUrl": "voice_fallback_url",
    "VoiceFallbackMethod": "voice_fallback_method",
    "StatusCallback": "status_callback",
    "StatusCallbackMethod": "status_callback_method",
    "VoiceApplicationSid": "voice_application_sid",
    "TrunkSid": "trunk_sid",
    "SmsUrl": "sms_url",
    "FriendlyName": "friendly_name",
}


def phone_number(number: str, **fields: Any) -> dict[str, Any]:
    """A resource as it is when the number was bought."""
    sid = f"PN{int(number[1:]):032x}"
    return {
        "sid": sid,
        "account_sid": SID,
        "phone_number": number,
        "friendly_name": number,
        "capabilities": {"voice": True, "sms": True, "mms": True, "fax": False},
        "voice_url": "",
        "voice_method": "POST",
        "voice_fallback_url": "",
        "voice_fallback_method": "POST",
        "status_callback": "",
        "status_callback_method": "POST",
        "voice_application_sid": "",
        "trunk_sid": None,
        "sms_url": "https://sms.example.com/",
        "date_created": "Thu, 30 Jul 2015 23:19:04 +0000",
        "date_updated": "Thu, 30 Jul 2015 23:19:04 +0000",
        "uri": f"/2010-04-01/Accounts/{SID}/IncomingPhoneNumbers/{sid}.json",
        **fields,
    }


class Refusal(Exception):
    """An error as Twilio tells it."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        more = f"https://www.twilio.com/docs/errors/{code}"
        body = {"code": code, "message": message, "more_info": more, "status": status}
        headers = {"WWW-Authenticate": 'Basic realm="Twilio API"'} if status == 401 else None
        self.response = web.json_response(body, status=status, headers=headers)


class TwilioAccount:
    """Twilio with one account; a test may change it while it runs."""

    def __init__(self) -> None:
        self.url = ""
        self.numbers: list[dict[str, Any]] = []
        self.updates: list[dict[str, str]] = []
        """The forms that were posted."""
        self.max_page = 1000
        self.keeps: set[str] = set()
        """Properties that it does not change, whatever is posted."""
        self.instead: dict[str, Any] | None = None
        """What it answers whoever asks: arguments of `web.Response`."""
        self.silent = False
        """It never answers."""
        self.app = web.Application()
        folder = "/2010-04-01/Accounts/{account}/IncomingPhoneNumbers"
        self.app.router.add_get(f"{folder}.json", self._guarded(self._list))
        self.app.router.add_post(folder + "/{sid}.json", self._guarded(self._update))

    def _guarded(self, answer: Any) -> Any:
        async def guarded(request: web.Request) -> web.Response:
            if self.silent:
                await asyncio.Event().wait()
            if self.instead is not None:
                return web.Response(**self.instead)
            try:
                self._authorize(request)
                response: web.Response = await answer(request)
            except Refusal as refusal:
                return refusal.response
            return response

        return guarded

    @staticmethod
    def _authorize(request: web.Request) -> None:
        expected = aiohttp.encode_basic_auth(SID, AUTH_TOKEN)
        if request.headers.get("Authorization") != expected or request.match_info["account"] != SID:
            raise Refusal(401, 20003, "Authenticate")

    async def _list(self, request: web.Request) -> web.Response:
        asked = request.query
        pattern = re.escape(asked.get("PhoneNumber", "")).replace(r"\*", "[0-9]")
        found = [number for number in self.numbers if re.search(pattern, number["phone_number"])]
        size = min(int(asked.get("PageSize", 50)), self.max_page)
        page = int(asked.get("Page", 0))
        part = found[page * size : (page + 1) * size]

        def uri(page: int, **more: str) -> str:
            return f"{request.path}?{urlencode({**asked, 'PageSize': size, 'Page': page, **more})}"

        later = uri(page + 1, PageToken=f"PA{part[-1]['sid']}") if len(found) > (page + 1) * size else None
        body = {
            "incoming_phone_numbers": part,
            "page": page,
            "page_size": size,
            "start": page * size,
            "end": page * size + len(part) - 1,
            "uri": uri(page),
            "first_page_uri": uri(0),
            "next_page_uri": later,
            "previous_page_uri": uri(page - 1) if page else None,
        }
        return web.json_response(body)

    async def _update(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        for number in self.numbers:
            if number["sid"] == request.match_info["sid"]:
                self.updates.append(form)
                return web.json_response(self._change(number, form))
        raise Refusal(404, 20404, f"The requested resource {request.path} was not found")

    def _change(self, number: dict[str, Any], form: dict[str, str]) -> dict[str, Any]:
        changed = {**number, **{_FORM[name]: value for name, value in form.items()}}
        if form.get("TrunkSid"):
            changed["voice_application_sid"] = ""
        if form.get("VoiceApplicationSid"):
            changed["trunk_sid"] = ""
        if changed["voice_fallback_url"] and not changed["voice_url"]:
            raise Refusal(400, 21405, "Cannot set VoiceFallbackUrl without setting Url")
        number.update({name: value for name, value in changed.items() if name not in self.keeps})
        # A SID that is not set is null.
        number["trunk_sid"] = number["trunk_sid"] or None
        return number


@asynccontextmanager
async def twilio_account(*numbers: dict[str, Any]) -> AsyncIterator[TwilioAccount]:
    """Twilio on loopback, with these numbers."""
    twilio = TwilioAccount()
    twilio.numbers = list(numbers)
    runner = web.AppRunner(twilio.app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    twilio.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield twilio
    finally:
        await runner.cleanup()


class _Rerouted(TwilioHttpClient):  # type: ignore[misc]
    def __init__(self, url: str, timeout_s: float) -> None:
        super().__init__(timeout=timeout_s)
        self._url = url

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Response:
        assert url.startswith(f"{_API}/"), url
        return super().request(method, self._url + url.removeprefix(_API), *args, **kwargs)


@contextmanager
def api_at(url: str, timeout_s: float = 5) -> Iterator[TwilioHttpClient]:
    """The SDK's HTTP client, with another server in Twilio's place."""
    client = _Rerouted(url, timeout_s)
    try:
        yield client
    finally:
        client.session.close()
