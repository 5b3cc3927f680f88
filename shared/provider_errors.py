"""How providers fail, in terms that metrics, circuit breakers and fallbacks understand."""

from shared.stage import CannotServe


class Unavailable(CannotServe):
    """The provider cannot serve now, whatever it is asked: another try may succeed, and the fleet should know."""

    def __init__(self, message: str, reason: str) -> None:
        """`reason` is one of a small set: `timeout`, `connection`, `status_429`, …"""
        super().__init__(message)
        self.reason = reason


class ProviderLost(Exception):
    """The provider serves no more in mid-call; the message says why."""

    def __init__(self, message: str, reason: str = "connection") -> None:
        """`reason` as in Unavailable."""
        super().__init__(message)
        self.reason = reason


class NobodyServes(Exception):
    """Every provider has failed for too long; the message says how each did."""


def reason_of(error: Exception) -> str:
    """What the metrics call it. Anything that is no failure of its own kind comes from an answer nobody can read."""
    if isinstance(error, ProviderLost | Unavailable):
        return error.reason
    if isinstance(error, CannotServe):
        return "refused"
    if isinstance(error, TimeoutError):
        return "timeout"
    return "connection" if isinstance(error, OSError) else "garbage"
