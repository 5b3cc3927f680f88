"""The key that opens the operator's endpoints: `Authorization: Bearer <API_KEY>`."""

import hmac
from dataclasses import dataclass

from pydantic import SecretStr

_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request may not pass: an HTTP status and a sentence."""

    status: int
    reason: str


class OperatorKey:
    """Tells an operator from anybody else."""

    def __init__(self, api_key: SecretStr) -> None:
        """An empty key lets nobody in."""
        self._key = api_key.get_secret_value().encode()

    def refusal(self, authorization: str) -> Refusal | None:
        """None when the header `authorization` holds the key, compared in constant time."""
        if not self._key:
            return Refusal(403, "this endpoint is closed: set API_KEY, and send it as 'Authorization: Bearer …'")
        given = authorization[len(_SCHEME) :] if authorization[: len(_SCHEME)].lower() == _SCHEME else ""
        if not hmac.compare_digest(given.encode(errors="replace"), self._key):
            return Refusal(401, "the operator's key is needed: 'Authorization: Bearer …' with the value of API_KEY")
        return None
