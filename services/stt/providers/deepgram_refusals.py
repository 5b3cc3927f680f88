"""Why Deepgram does not open a stream, as sentences that say what to set."""

import structlog

from services.stt.providers.deepgram_sdk import ApiError
from shared.agents import SttProfile
from shared.stage import CannotServe

log = structlog.get_logger()


def unreachable(reason: str) -> CannotServe:
    """There was no answer."""
    return CannotServe(f"Deepgram cannot be reached ({reason}): check the network and DEEPGRAM_BASE_URL")


def refusal(stt: SttProfile, error: ApiError) -> CannotServe:
    """The answer was no. The sentence holds no header of the request."""
    status = error.status_code
    # The SDK drops what Deepgram says; the refused handshake behind its error still has it.
    headers = getattr(error.__context__, "headers", None) or {}
    said = str(headers.get("dg-error", ""))[:200]
    reason = f"HTTP {status}: {said}" if said else f"HTTP {status}"
    log.warning("deepgram_refused", status=status, request=headers.get("dg-request-id"))
    if status == 401:
        return CannotServe("Deepgram refused the key: set DEEPGRAM_API_KEY to a valid one")
    if status == 403:
        return CannotServe(
            f"Deepgram does not let this key use the model {stt.model!r} ({reason}): "
            "set DEEPGRAM_API_KEY to one that may, or stt.model of the agent to another"
        )
    if status in (400, 404):
        return CannotServe(
            f"Deepgram refused the model {stt.model!r} with the language {stt.language!r} ({reason}): "
            "set stt.model and stt.language of the agent to ones that it streams"
        )
    return CannotServe(f"Deepgram refused a socket ({reason}): see the account, and try again later")
