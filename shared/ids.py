"""Identifiers that come from outside, checked before they reach a subject, a key or a path."""

import re

_CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class InvalidId(ValueError):
    """An identifier holds characters that may not reach a subject, a key or a path."""


def check_call_id(text: str) -> str:
    """Return `text` when it may name a call (a Twilio CallSid, `sim-…`, `web-…`).

    Raises InvalidId: a dot, a `*` or a `>` would change the meaning of a subject.
    """
    if not _CALL_ID.fullmatch(text):
        raise InvalidId(f"call id {text[:80]!r} does not match [A-Za-z0-9_-]{{1,64}}")
    return text


def check_name(text: str) -> str:
    """Return `text` when it may name an agent or a scenario. Raises InvalidId."""
    if not _NAME.fullmatch(text):
        raise InvalidId(f"name {text[:80]!r} does not match [a-z0-9][a-z0-9_-]{{0,63}}")
    return text
