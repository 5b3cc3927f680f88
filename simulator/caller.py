"""A caller who holds a conversation: listens to the greeting, says a line, waits for the reply to end."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from shared.espeak import speak, trim
from simulator.mouth import Spoken
from simulator.playback import Playback


class OnThePhone(Protocol):
    """What a caller needs of a phone."""

    @property
    def clock(self) -> Callable[[], float]: ...

    @property
    def playback(self) -> Playback: ...

    @property
    def over(self) -> bool: ...

    async def speak(self, mulaw: bytes) -> Spoken: ...

    async def changed(self, timeout_s: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Voice:
    """How a caller sounds."""

    name: str = "en-us"
    words_per_minute: int = 165

    def render(self, text: str) -> bytes:
        """`text` as 8 kHz μ-law without silence around it. Raises shared.espeak.SpeechError."""
        return trim(speak(text, self.name, self.words_per_minute).mulaw)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a caller waits."""

    greeting_s: float = 5.0
    """For a greeting to begin; without one the caller speaks first."""
    reply_s: float = 10.0
    """For a reply to begin."""
    reply_ends_s: float = 60.0
    """For it to end."""
    quiet_s: float = 0.7
    """Silence after which the agent has finished."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a caller heard after saying something."""

    audio: bytes
    """The agent's audio from the caller's first word to the end of the reply."""
    latency_ms: float | None
    """By ear: last sample with speech sent → first sample of the reply played."""
    reason: str = ""
    """Why there is no complete answer, in words; empty when there is one."""


class Caller:
    """Talks on one phone."""

    def __init__(self, phone: OnThePhone, patience: Patience | None = None) -> None:
        """`phone` has been dialled."""
        self._phone = phone
        self._patience = patience or Patience()

    async def hear_greeting(self) -> bytes:
        """Listen until the agent's first words end; empty when none came in time."""
        began = self._phone.playback.started
        if await self.wait_for_reply(began, self._patience.greeting_s) is None:
            return b""
        await self.wait_until_quiet(self._patience.reply_ends_s)
        return self._phone.playback.between(began, self._phone.playback.ends)

    async def say(self, mulaw: bytes) -> Turn:
        """Say something and listen to the reply. Raises CallOver when the call ends in mid-sentence."""
        phone = self._phone
        spoken = await phone.speak(mulaw)
        first = await self.wait_for_reply(spoken.ended, self._patience.reply_s)
        if first is None:
            missing = "the call ended" if phone.over else f"no answer was heard within {self._patience.reply_s:g} s"
            return Turn(b"", None, missing)
        latency_ms = (first - spoken.ended) * 1000
        ended = await self.wait_until_quiet(self._patience.reply_ends_s)
        audio = phone.playback.between(spoken.began, min(phone.playback.ends, phone.clock()))
        reason = "" if ended else f"the answer did not end within {self._patience.reply_ends_s:g} s"
        return Turn(audio, latency_ms, reason)

    async def wait_for_reply(self, since: float, timeout_s: float) -> float | None:
        """When the agent can first be heard, at or after `since`; None when that is not within `timeout_s`.

        Returns as soon as it is known: what the carrier has queued may be heard a little later.
        """
        deadline = self._phone.clock() + timeout_s
        while True:
            first = self._phone.playback.first_audible(since)
            left = deadline - self._phone.clock()
            if first is not None or left <= 0 or self._phone.over:
                return first
            await self._phone.changed(left)

    async def wait_until_quiet(self, timeout_s: float) -> bool:
        """Wait until nothing was heard for `quiet_s`, or the call is over; False when that takes longer."""
        deadline = self._phone.clock() + timeout_s
        while not self._phone.over:
            now = self._phone.clock()
            quiet_at = self._phone.playback.silent_from + self._patience.quiet_s
            if now >= quiet_at:
                return True
            if now >= deadline:
                return False
            await self._phone.changed(min(quiet_at, deadline) - now)
        return True

    async def wait_playing(self, ms: int, timeout_s: float) -> bool:
        """Wait until the current reply, or the next one, has been heard for `ms`; False when that does not happen.

        A clear ends a reply: what comes after it counts from 0. Less than 1 ms is 1: the reply has begun.
        """
        deadline = self._phone.clock() + timeout_s
        while True:
            now = self._phone.clock()
            missing_s = max(1, ms) / 1000 - self._heard_s(now)
            # A microsecond forgives what floating point loses.
            if missing_s < 1e-6:
                return True
            if now >= deadline or self._phone.over:
                return False
            await self._phone.changed(min(missing_s, deadline - now))

    def _heard_s(self, now: float) -> float:
        """For how long the reply that plays at `now` was heard; 0 when none does."""
        playback, quiet_s = self._phone.playback, self._patience.quiet_s
        since = playback.cleared_at[-1] if playback.cleared_at else playback.started
        heard_s, last = 0.0, since
        for start, end in playback.played():
            if end <= since or start >= now:
                continue
            if start - last >= quiet_s:
                heard_s = 0.0
            last = min(end, now)
            heard_s += last - max(start, since)
        return heard_s if now - last < quiet_s else 0.0
