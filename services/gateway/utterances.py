"""What stt has told of the caller's utterances, and so: from where another worker must hear the caller again. Pure.

Times are ms on the caller's timeline.
"""

from typing import NamedTuple

_LEAD_MS = 300
"""A word begins before voice activity is sure."""
UNSURE_MS = 1000
"""What a worker had heard but not told when it was last known to live."""


class _Restart(NamedTuple):
    from_ms: int
    at_ms: int


class Utterances:
    """Follows one line's utterances."""

    def __init__(self) -> None:
        """The caller has said nothing."""
        self._open: dict[int, int] = {}
        """Each utterance whose words are not all told, and from where they are missing."""
        self._complete = 0
        """The newest complete utterance."""
        self._told_ms = 0
        """All words before this are told for good."""
        self._restart: _Restart | None = None

    @property
    def open(self) -> bool:
        """Whether words are awaited."""
        return bool(self._open)

    def started(self, utterance: int, t_ms: int) -> None:
        """The caller began to speak; also told after its end, because subscriptions run side by side."""
        if utterance > self._complete:
            self._open[utterance] = max(0, t_ms - _LEAD_MS)

    def final(self, utterance: int, until_ms: int | None, *, complete: bool) -> None:
        """Words up to `until_ms` will not change."""
        if complete:
            self._complete = max(self._complete, utterance)
            begun_ms = self._open.pop(utterance, 0)
            self._told_ms = max(self._told_ms, begun_ms if until_ms is None else until_ms)
        elif until_ms is not None and utterance in self._open:
            self._open[utterance] = max(self._open[utterance], until_ms)

    def needed_from(self, since_ms: int, unsure_ms: int = UNSURE_MS) -> int:
        """From where a worker must hear the caller that takes over from one that was last sure at `since_ms`.

        `unsure_ms` before that it may not have told yet what it had heard.
        """
        start = min(self._open.values(), default=since_ms - unsure_ms)
        if self._restart is not None and since_ms - unsure_ms < self._restart.at_ms:
            # It had perhaps not come to the end of what it was sent again.
            start = min(start, self._restart.from_ms)
        return max(start, self._told_ms, 0)

    def restarted(self, from_ms: int, at_ms: int) -> None:
        """Another worker, which counts from 1, hears the caller from `from_ms`; the caller is at `at_ms` now."""
        self._open.clear()
        self._complete = 0
        self._restart = _Restart(from_ms, at_ms)

    @property
    def settled_ms(self) -> int:
        """Audio before this is needed by nobody."""
        return min(self._open.values(), default=self._told_ms)
