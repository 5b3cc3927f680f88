"""What turn-taking leaves to a successor: all that a worker which takes over could not learn anew."""

import msgspec


class Told(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The newest utterance that was committed or dropped: whatever is told of it, or of one before, means nothing."""

    epoch: int = -1
    """The lease of the stt worker that heard it."""
    utterance: int = 0
    line: int = 0
    """The line that the caller's timeline belongs to."""
    until_ms: int = 0
    """Where on that timeline its last speech sample lies, as far as that is known."""


class Standing(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """How far the turns have come."""

    told: Told = Told()
    keys: str = ""
    """Those pressed since the last turn."""
    reprompts: int = 0
    """How often the caller's silence was broken."""
    hold_since: float | None = None
    """Unix time in seconds at which the other side asked to hold."""
