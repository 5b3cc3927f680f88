"""The carrier's short frames, joined into fewer messages. Pure.

A message costs each process that it passes the same, whatever its length. Messages are shortest while the agent
speaks, because the caller's first sounds shall silence it; longer while it listens, where an answer waits for the end
of the caller's turn anyway; and long in a silence: the first frame with a sound in it ends the one that is open.
"""

from collections.abc import Callable

from shared.audio import duration_ms, is_faint

PROMPT_MS = 40
"""So much audio makes a message while the agent speaks: two of Twilio's frames."""
JOINED_MS = 80
"""The same while it listens."""
LONG_MS = 200
"""The same in a silence, and for audio that waits for its worker anyway."""
_SILENCE_MS = 1000
"""After so much without a sound it is a silence: until then the end of the caller's turn is being judged."""
_LISTENING_MS = 300
"""The same while the agent speaks: then that end was judged already."""


class Joining:
    """Frames that adjoin on the caller's timeline, on their way to become one."""

    def __init__(self, agent_speaks: Callable[[], bool]) -> None:
        """Empty. `agent_speaks` is asked once for each message."""
        self._agent_speaks = agent_speaks
        self._prompt = False
        """The agent spoke when the first of them came."""
        self.frames = 0
        """How many there are."""
        self.begins_ms = 0
        self.ends_ms = 0
        """Where the newest frame ends."""
        self.length_ms = 0
        """How long they play together."""
        self.wanted_ms = JOINED_MS
        """How long they may become."""
        self._audio: list[bytes] = []
        self._faint_ms = 0
        """How long there was no sound."""

    def add(self, timestamp_ms: int, mulaw: bytes) -> None:
        """A frame that begins where the newest one ends, unless it is the first."""
        if not self.frames:
            self.begins_ms = timestamp_ms
            self._prompt = self._agent_speaks()
        self._audio.append(mulaw)
        self.frames += 1
        length_ms = duration_ms(mulaw)
        self.ends_ms = timestamp_ms + length_ms
        self.length_ms += length_ms
        self._faint_ms = self._faint_ms + length_ms if is_faint(mulaw) else 0
        silence_ms, short_ms = (_LISTENING_MS, PROMPT_MS) if self._prompt else (_SILENCE_MS, JOINED_MS)
        self.wanted_ms = LONG_MS if self._faint_ms > silence_ms else short_ms

    def take(self) -> bytes:
        """Their audio; empty after that."""
        joined = b"".join(self._audio)
        self._audio.clear()
        self.frames = self.length_ms = 0
        return joined
