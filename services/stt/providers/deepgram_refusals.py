"""Why Deepgram does not open a stream, as sentences that say what to set."""

import structlog

from services.stt.providers.deepgram_socket import InvalidStatus
from shared.agents import SttProfile
from shared.provider_errors import Unavailable
from shared.stage import CannotServe

log = structlog.get_logger()


def unreachable(what: str, reason: str = "connection") -> Unavailable:
    """There was no answer; `reason` as in Unavailable."""
    return Unavailable(f"Deepgram cannot be reached ({what}): check the network and DEEPGRAM_BASE_URL", reason)


def refusal(stt: SttProfile, error: InvalidStatus) -> CannotServe:
    """The answer was no. The sentence holds no header of the request."""
    status, headers = error.response.status_code, error.response.headers
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
    sentence = f"Deepgram refused a socket ({reason}): see the account, and try again later"
    return Unavailable(sentence, f"status_{status}")
