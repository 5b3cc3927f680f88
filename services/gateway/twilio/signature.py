"""Checks that a webhook really comes from Twilio.

Source: Twilio, "Webhooks Security": HMAC-SHA1 over the URL and the sorted form fields.
"""

from twilio.request_validator import RequestValidator

REFUSAL = (
    "wrong signature or account: are TWILIO_AUTH_TOKEN and TWILIO_ACCOUNT_SID right, "
    "and is PUBLIC_URL the webhook's address?"
)
"""What a request without the right signature is answered, with status 403."""


class SignatureCheck:
    """Checks with the account's auth token; without one every request passes (ALLOW_UNSIGNED)."""

    def __init__(self, auth_token: str, account_sid: str = "") -> None:
        """`auth_token` empty: no signature is checked. `account_sid` empty: the calls of any account pass."""
        self._validator = RequestValidator(auth_token) if auth_token else None
        self._account_sid = account_sid

    def passes(self, url: str, form: dict[str, str], signature: str) -> bool:
        """Whether `signature` is Twilio's for a POST of `form` to `url`, the address Twilio was given, and for us."""
        if self._account_sid and form.get("AccountSid") != self._account_sid:
            return False
        return self._validator is None or bool(self._validator.validate(url, form, signature))
