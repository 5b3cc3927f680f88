"""The phone numbers of a Twilio account, through Twilio's SDK."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException
from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.rest import Client
from twilio.rest.api.v2010.account.incoming_phone_number import IncomingPhoneNumberInstance

from services.gateway.twilio.number import FIELDS, Number

_PAGE = 1000
"""Numbers in one answer; Twilio gives no more."""


class AccountError(Exception):
    """Twilio did not do what was asked; the message, one line, says why and holds no credentials."""


class Account:
    """One account, with its main credentials."""

    def __init__(self, account_sid: str, auth_token: str, http: HttpClient) -> None:
        """`http` carries the requests; whoever made it closes it."""
        self._client = Client(account_sid, auth_token, http_client=http)
        self._secrets = (account_sid, auth_token)

    def numbers(self) -> list[Number]:
        """All numbers of the account, in Twilio's order. Raises AccountError."""
        with self._asking():
            return [_number(found) for found in self._client.incoming_phone_numbers.stream(page_size=_PAGE)]

    def number(self, number: str) -> Number:
        """The number `number` (E.164). Raises AccountError, also when the account has none such."""
        with self._asking():
            # Twilio matches parts of numbers too.
            for found in self._client.incoming_phone_numbers.stream(phone_number=number, page_size=_PAGE):
                if found.phone_number == number:
                    return _number(found)
        raise AccountError(
            f"{number} is not a number of this account: without --number its numbers are listed; "
            "a subaccount's numbers need that subaccount's TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN"
        )

    def update(self, number: Number, changes: Mapping[str, str]) -> Number:
        """Set these fields; the number as it is then. Raises AccountError, also when Twilio keeps a field as it was."""
        with self._asking():
            updated = _number(self._client.incoming_phone_numbers(number.sid).update(**changes))
        for name, value in changes.items():
            if updated.fields[name] != value:
                kept = updated.fields[name] or "nothing"
                raise AccountError(f"Twilio has {name} as {kept}: change it in the console, then run this again")
        return updated

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except TwilioException as error:
            raise AccountError(self._without_secrets(_refusal(error))) from error
        except OSError as error:
            # What the SDK's HTTP client raises; its text repeats the request.
            reason = type(error).__name__
            raise AccountError(f"Twilio's API cannot be reached ({reason}): run this again, no harm is done") from error
        except ValueError as error:
            raise AccountError("Twilio's API: that answer is not Twilio's; does a proxy answer instead?") from error

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return text


def _number(instance: IncomingPhoneNumberInstance) -> Number:
    fields = {name: getattr(instance, name) or "" for name in FIELDS}
    takes_calls = (instance.capabilities or {}).get("voice", True)
    return Number(instance.sid, instance.phone_number, takes_calls, fields)


def _refusal(error: TwilioException) -> str:
    status, code, text = _parts(error)
    if status == 401:
        return f"Twilio refuses TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN ({code}): copy them from the console again"
    if status == 429:
        return f"Twilio takes no more requests for the moment ({code}): try again"
    if status >= 500:
        return f"Twilio's API fails ({status}): try again; https://status.twilio.com tells of disturbances"
    about = f"; https://www.twilio.com/docs/errors/{code}" if code != status else ""
    return f"Twilio refuses ({code}): {' '.join(text.split())[:300]}{about}"


def _parts(error: TwilioException) -> tuple[int, int, str]:
    """Its HTTP status, Twilio's code or the status again, and the message."""
    if isinstance(error, TwilioServiceException):
        return error.status, error.code, error.detail or error.title
    if isinstance(error, TwilioRestException):
        return error.status, error.code or error.status, error.msg
    # The SDK tells of a page that could not be read in this way only.
    response = error.args[1] if len(error.args) > 1 else None
    if not isinstance(response, Response):
        return 0, 0, str(error)
    return response.status_code, *_body(response)


def _body(response: Response) -> tuple[int, str]:
    try:
        body = json.loads(response.text)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return response.status_code, "no reason given"
    return body.get("code") or response.status_code, str(body.get("message", "no reason given"))
