"""A phone number at Twilio: where its calls go, and what leads them to a deployment.

Source: Twilio, "IncomingPhoneNumber resource" and "Availability and Reliability" (fallback URLs).
"""

from collections.abc import Mapping
from dataclasses import dataclass

VOICE_PATH = "/twilio/voice"
STATUS_PATH = "/twilio/status"
FIELDS = (
    "trunk_sid",
    "voice_application_sid",
    "voice_url",
    "voice_method",
    "voice_fallback_url",
    "voice_fallback_method",
    "status_callback",
    "status_callback_method",
)
"""The properties of the resource that decide about calls."""
_POST = "POST"
_NONE = "none"


@dataclass(frozen=True, slots=True)
class Number:
    """What Twilio knows of one number."""

    sid: str
    """Of the resource, "PN…"."""
    number: str
    """E.164."""
    takes_calls: bool
    """Whether it can receive calls at all; some numbers are for messages only."""
    fields: Mapping[str, str]
    """The value of each of FIELDS; empty: not set."""

    def changes(self, base_url: str) -> dict[str, str]:
        """The fields that keep calls from the deployment at `base_url` (no slash at its end), as they shall be.

        A trunk or an application takes precedence over the URLs. The fallback asks the webhook once more, and a load
        balancer then finds another gateway; one that leads elsewhere is its owner's choice and stays.
        """
        voice = base_url + VOICE_PATH
        shall = {
            "trunk_sid": "",
            "voice_application_sid": "",
            "voice_url": voice,
            "voice_method": _POST,
            "status_callback": base_url + STATUS_PATH,
            "status_callback_method": _POST,
        }
        if self.fields["voice_fallback_url"] in ("", self.fields["voice_url"]):
            shall |= {"voice_fallback_url": voice, "voice_fallback_method": _POST}
        return {name: value for name, value in shall.items() if self.fields[name] != value}


def rows(fields: Mapping[str, str]) -> dict[str, str]:
    """`fields` for people: a label and a value, in the order of precedence."""
    return {
        "trunk": fields["trunk_sid"] or _NONE,
        "application": fields["voice_application_sid"] or _NONE,
        "voice webhook": _hook(fields, "voice_url", "voice_method"),
        "voice fallback": _hook(fields, "voice_fallback_url", "voice_fallback_method"),
        "status callback": _hook(fields, "status_callback", "status_callback_method"),
    }


def destination(fields: Mapping[str, str]) -> str:
    """Where a call goes, for people."""
    if trunk := fields["trunk_sid"]:
        return f"trunk {trunk}"
    if application := fields["voice_application_sid"]:
        return f"application {application}"
    return _hook(fields, "voice_url", "voice_method")


def _hook(fields: Mapping[str, str], url: str, method: str) -> str:
    return f"{fields[method]} {fields[url]}" if fields[url] else _NONE
