"""One call's recognition: the caller's audio in, speech events out, in order."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from services.stt.detector import SpeechDetector, Started, Stopped
from services.stt.intake import Intake, Mark
from services.stt.provider import Hypothesis, Transcriber
from services.stt.timeline import Timeline
from services.stt.utterances import Utterances
from services.stt.vad import VadBatcher
from shared.audio import RATE, duration_ms
from shared.bus import BusError
from shared.call import Call
from shared.messages import AudioIn, Message, Word

log = structlog.get_logger()

_ARRIVALS = 100
"""Frames (2 s) whose time of arrival is kept: longer than any hang-over."""


class SttSession:
    """Hears one caller."""

    def __init__(
        self,
        call: Call,
        provider: str,
        vad: VadBatcher,
        detector: SpeechDetector | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`provider` is for the bill. The session works once `begin` was called."""
        self._call = call
        self._provider = provider
        self._clock = clock
        self._detector = detector or SpeechDetector()
        self._vad = vad.stream(self._on_window)
        self._intake = Intake()
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()
        self._utterances = Utterances()
        self._timeline = Timeline()
        self._arrivals: deque[tuple[int, float]] = deque(maxlen=_ARRIVALS)
        """(end of the frame on the caller's timeline in ms, Unix time of its arrival)."""
        self._newest = (0, -1)
        """(epoch, seq) of the newest frame."""
        self._fed_bytes = 0
        self._transcriber: Transcriber | None = None
        self._work: list[asyncio.Task[None]] = []

    async def begin(self, transcriber: Transcriber) -> None:
        """Listen to the call, with a transcriber that was opened with `hear`; it belongs to the session."""
        self._transcriber = transcriber
        self._work = [self._call.spawn(self._feed(transcriber)), self._call.spawn(self._publish())]
        await self._call.channel.on_audio_in(self._on_frame)

    def _on_frame(self, frame: AudioIn) -> None:
        order = (frame.epoch, frame.seq)
        if order <= self._newest:
            # A gateway sends its last seconds again when it is not sure that they arrived.
            return
        if frame.epoch > self._newest[0]:
            # Another line took over, with a timeline of its own.
            self._arrivals.clear()
        self._newest = order
        self._arrivals.append((frame.timestamp_ms + duration_ms(frame.payload), self._clock()))
        self._intake.put(frame)
        self._vad.feed(frame.timestamp_ms, frame.payload)

    def _on_window(self, probability: float, start_ms: int) -> None:
        change = self._detector.hear(probability, start_ms)
        if isinstance(change, Started):
            self._intake.put(Mark.BEGIN)
            self._send(self._utterances.start(change.t_ms))
        elif isinstance(change, Stopped):
            self._finish(change.t_ms)
        elif not self._detector.speaking and self._utterances.unconfirmed(start_ms):
            self._finish(start_ms)

    def _finish(self, t_ms: int) -> None:
        self._intake.put(Mark.FINISH)
        self._send(self._utterances.stop(t_ms, self._arrived_at(t_ms)))

    def _arrived_at(self, t_ms: int) -> float:
        """When the frame with the sample before `t_ms` arrived."""
        return next((at for end_ms, at in self._arrivals if end_ms >= t_ms), self._clock())

    def hear(self, hypothesis: Hypothesis) -> None:
        """The transcriber's listener."""
        words = tuple(self._placed(word) for word in hypothesis.words)
        t_ms = self._arrivals[-1][0] if self._arrivals else 0
        self._send(self._utterances.hear(replace(hypothesis, words=words), t_ms))

    def _placed(self, word: Word) -> Word:
        locate = self._timeline.locate
        return word.model_copy(update={"start_ms": locate(word.start_ms), "end_ms": locate(word.end_ms)})

    def _send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._outbox.put_nowait(message)

    async def _publish(self) -> None:
        """One sender, so that the messages keep their order."""
        while True:
            message = await self._outbox.get()
            try:
                await self._call.channel.send(message)
            except BusError as error:
                # The broker is away: worthless when late, and the call goes on when it is back.
                log.warning("speech_not_sent", call_id=self._call.id, suffix=message.suffix, error=str(error))

    async def _feed(self, transcriber: Transcriber) -> None:
        """Beside the handlers: a slow provider delays its own audio and not the VAD."""
        while True:
            item = await self._intake.get()
            if item is Mark.BEGIN:
                await transcriber.begin()
            elif item is Mark.FINISH:
                await transcriber.finish()
            elif isinstance(item, AudioIn):
                self._fed_bytes += len(item.payload)
                self._timeline.feed(item.timestamp_ms, duration_ms(item.payload))
                await transcriber.feed(item.payload)

    async def close(self) -> None:
        self._vad.close()
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        if self._transcriber is None:
            return
        if self._fed_bytes:
            seconds = round(self._fed_bytes / RATE, 2)
            await self._call.count(self._provider, self._transcriber.model, audio_s=seconds)
        await self._transcriber.close()
