"""The caller's side of a line: audio and keys on their way to the stages, and once more after a takeover."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import structlog

from services.gateway.at_once import at_once
from services.gateway.joining import LONG_MS, Joining
from services.gateway.recent import Frame, Recent
from services.gateway.utterances import UNSURE_MS, Utterances
from shared import messages
from shared.channel import CallChannel
from shared.messages import Message, SpeechFinal, SpeechStarted
from shared.metrics import AUDIO_FRAMES

log = structlog.get_logger()

LATE_MS = 10
"""What is missing to a message may come so much late."""
_BATCH = 50
"""Messages sent in one go: others get their turn after that."""
_KEYS_KEPT = 32
_KEYS_UNSURE_S = 3.0
"""Keys pressed so long before the last sign of life may not have been taken up."""
_KEYS_OF_A_LINE = 100_000
"""The numbers of keys go on growing from line to line."""

_frames_in = AUDIO_FRAMES.labels("in")
Later = Callable[[float, Callable[[int], None], int], object]


class _Key(NamedTuple):
    at: float
    message: messages.Digit


class Uplink:
    """Numbers and publishes what comes from the caller; while held, it only keeps it."""

    def __init__(
        self,
        channel: CallChannel,
        agent_speaks: Callable[[], bool],
        now: Callable[[], float] = time.time,
        later: Later | None = None,
    ) -> None:
        """`now` is Unix time in seconds; `later` has a function called after some seconds, as the loop has it."""
        self.opened_at = now()
        """When the beginning of the caller's timeline reached the system: the earliest that a frame tells."""
        self.last_words_at = 0.0
        """When stt last told anything of the caller's speech."""
        self._channel = channel
        self._now = now
        self._later = later or asyncio.get_running_loop().call_later
        self._recent = Recent()
        self._utterances = Utterances()
        self._joining = Joining(agent_speaks)
        self._seq = 0
        """Of the message that comes next."""
        self._next = 0
        """The first message that was not sent."""
        self._held = False
        self._closed = self._failed = False
        self._sending: asyncio.Task[None] | None = None
        """Sends what is too much to be sent at once."""
        self._keys: deque[_Key] = deque(maxlen=_KEYS_KEPT)
        self._pressed = 0
        self._keys_in_order = asyncio.Lock()

    @property
    def speaking(self) -> bool:
        """Whether the caller has begun an utterance whose words are not complete."""
        return self._utterances.open

    async def open(self) -> None:
        """Follow what stt tells."""
        await self._channel.on(self._on_started, SpeechStarted)
        await self._channel.on(self._on_final, SpeechFinal)

    async def close(self) -> None:
        """Send what is left; what comes after that is dropped."""
        self._join()
        self._closed = True
        if self._sending is not None:
            await self._sending

    def carry(self, timestamp_ms: int, mulaw: bytes) -> None:
        """The caller's next frame: it is sent with those that follow, or without them if they are late."""
        if self._closed or not mulaw:
            return
        joining = self._joining
        if joining.frames and timestamp_ms != joining.ends_ms:
            self._join()
        joining.add(timestamp_ms, mulaw)
        began_at = self._now() - joining.ends_ms / 1000
        if began_at < self.opened_at or (self._seq == 0 and joining.frames == 1):
            self.opened_at = began_at
        wanted_ms = LONG_MS if self._held else joining.wanted_ms
        if joining.length_ms >= wanted_ms:
            self._join()
        elif joining.frames == 1:
            self._later((wanted_ms - joining.length_ms + LATE_MS) / 1000, self._join_late, self._seq)

    def _join_late(self, seq: int) -> None:
        if seq == self._seq and not self._held:
            self._join()

    def _join(self) -> None:
        """What was joined so far becomes a message."""
        joining = self._joining
        if not joining.frames:
            return
        _frames_in.count += joining.frames
        frame = Frame(self._seq, joining.begins_ms, joining.take())
        self._recent.keep(frame)
        self._seq += 1
        if self._next == frame.seq and not self._held:
            self._publish(frame)

    def _publish(self, frame: Frame) -> None:
        if self._failed:
            return
        self._next = frame.seq + 1
        try:
            at_once(self._channel.send_audio_in(*frame))
        except Exception as error:
            log.error("audio_not_sent", call_id=self._channel.call_id, exc_info=error)
            self._closed = self._failed = True
            if self._channel.on_failure is not None:
                self._channel.on_failure(error)

    def _send(self) -> bool:
        """Send what waits, but not more than a batch; returns whether nothing waits any more."""
        for _ in range(_BATCH):
            if self._held or self._failed:
                return True
            frame = self._recent.first_from(self._next)
            if frame is None:
                # Beyond what was dropped because nobody needs it any more.
                self._next = self._seq
                return True
            self._publish(frame)
        return False

    async def _send_on(self) -> None:
        try:
            while True:
                if self._send():
                    return
                await asyncio.sleep(0)
        finally:
            self._sending = None

    async def press(self, digit: str) -> None:
        """The caller's next key; the audio before it waits no longer. Raises BusError."""
        self._join()
        self._pressed += 1
        number = (self._channel.epoch - 1) * _KEYS_OF_A_LINE + self._pressed
        message = messages.Digit(digit=digit, number=number)
        self._keys.append(_Key(self._now(), message))
        async with self._keys_in_order:
            await self._channel.send(message)

    async def press_again(self, since: float) -> None:
        """Send the keys again that a worker may not have taken up which was last sure at `since`. Raises BusError."""
        async with self._keys_in_order:
            for key in [*self._keys]:
                if key.at >= since - _KEYS_UNSURE_S:
                    await self._channel.send(key.message)

    def hold(self) -> None:
        """From now on the caller's audio is only kept: the worker that shall hear it is not there yet."""
        self._held = True

    async def go_on(self) -> None:
        """Nobody took over: send what was only kept, then go on with the caller as it speaks, in order."""
        await self._send_from(self._next)

    async def replay(self, since: float, unsure_ms: int = UNSURE_MS) -> None:
        """Send again what a worker must hear that takes over, then go on with the caller as it speaks, in order.

        `since` is Unix time in seconds: the worker before surely did its work until then, but for what it had heard
        `unsure_ms` before and not told yet.
        """
        start = self._utterances.needed_from(round((since - self.opened_at) * 1000), unsure_ms)
        self._utterances.restarted(start, self._joining.ends_ms)
        self.hold()
        self._join()
        first = self._recent.first_after(start)
        await self._send_from(self._seq if first is None else first)

    async def _send_from(self, seq: int) -> None:
        """Returns when everything was sent that is there."""
        self.hold()
        self._join()
        self._next = seq
        self._held = False
        if not self._closed:
            if self._sending is None:
                self._sending = asyncio.create_task(self._send_on())
            # Not awaited itself: it goes on if the caller is cancelled.
            await asyncio.wait((self._sending,))

    async def _on_started(self, message: Message) -> None:
        if isinstance(message, SpeechStarted) and message.line in (0, self._channel.epoch):
            self.last_words_at = self._now()
            self._utterances.started(message.utterance, message.t_ms)

    async def _on_final(self, message: Message) -> None:
        if isinstance(message, SpeechFinal) and message.line in (0, self._channel.epoch):
            self.last_words_at = self._now()
            self._utterances.final(message.utterance, message.until_ms, complete=message.complete)
            self._recent.drop_before(self._utterances.settled_ms)
