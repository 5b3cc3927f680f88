"""The lines that are open at this gateway, each with what is known of its call."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from services.gateway.calls import CallRecord
from services.gateway.line import Line
from services.gateway.losses import Held


@dataclass(eq=False, slots=True)
class OpenLine:
    """A line and its call."""

    line: Line
    record: CallRecord
    """As this gateway knows it; replaced when the call's leases or its profile change."""
    held: dict[str, Held] = field(default_factory=dict)
    """By stage: the lease, as it is watched."""
    failed: dict[str, int] = field(default_factory=dict)
    """By stage: the newest lease that could not go on with the call."""
    failures: dict[str, deque[float]] = field(default_factory=dict)
    """By stage: when that happened, on `time.monotonic`."""


class Lines:
    """One open line for each call; a newer one takes the older one's place."""

    def __init__(self) -> None:
        """No line is open."""
        self.idle = asyncio.Event()
        """Set while no line is open."""
        self.idle.set()
        self._open: dict[str, OpenLine] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, call_id: str) -> bool:
        return call_id in self._open

    def get(self, call_id: str) -> OpenLine | None:
        """The open line of a call."""
        return self._open.get(call_id)

    def all(self) -> list[OpenLine]:
        """Those that are open now."""
        return list(self._open.values())

    def put(self, opened: OpenLine) -> OpenLine | None:
        """Keep a line that was opened; returns the one whose place it takes."""
        before = self._open.get(opened.line.call_id)
        self._open[opened.line.call_id] = opened
        self.idle.clear()
        return before

    def remove(self, opened: OpenLine) -> None:
        """The line has closed; nothing happens when a newer one has its place."""
        if self._open.get(opened.line.call_id) is opened:
            del self._open[opened.line.call_id]
            if not self._open:
                self.idle.set()
