"""The reply that holds the floor, as turn-taking sees it. Pure; times are Unix seconds."""

from dataclasses import dataclass

from services.llm.record import Spoken
from shared.messages import Playback, ReplyOnLine

_RETOLD_S = 0.3
"""So soon after a takeover it is known what the caller was saying."""


@dataclass(slots=True)
class LiveReply:
    """A reply that lives: from the commit until its playback is over."""

    seen_at: float
    """When something was last heard of it."""
    generation: int | None = None
    """None until the dialogue has begun it."""
    protected: bool = False
    audible: bool = False
    paused_at: float | None = None
    silent_until: float = 0.0
    """Paused, it does not go on before."""
    alarms: int = 0

    @classmethod
    def taken_over(cls, reply: Spoken, line: ReplyOnLine, now: float) -> "LiveReply":
        """One that another worker began; `line` is what the line knows of it."""
        alive = cls(now, reply.generation, reply.protected)
        if line.generation == reply.generation:
            alive.audible = line.started
            if line.paused:
                alive.paused_at, alive.silent_until, alive.alarms = now, now + _RETOLD_S, 1
        return alive

    def pause(self, now: float) -> None:
        """The caller makes a sound."""
        self.paused_at, self.alarms = now, self.alarms + 1

    def resume(self, now: float) -> None:
        """It was nothing."""
        self.paused_at, self.seen_at = None, now

    def follow(self, event: Playback, now: float) -> bool:
        """Its playback moved on; whether it is over."""
        self.seen_at = now
        self.audible = self.audible or event.state == "started"
        return event.state in ("finished", "cleared")
