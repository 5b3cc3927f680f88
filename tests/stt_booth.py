"""An stt session at work for tests: real audio, real VAD, a provider and a gateway that do what the test says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np

from services.stt.detector import SpeechDetector
from services.stt.provider import Hypothesis, Usage
from services.stt.session import SttSession
from services.stt.silero import Silero
from services.stt.vad import VadBatcher
from shared.audio import FRAME_BYTES, FRAME_MS, RATE, SILENCE, bytes_of, duration_ms
from shared.call import Call
from shared.channel import CallChannel
from shared.memory_bus import MemoryBus
from shared.messages import Playback, SpeechFinal, SpeechPartial, SpeechStarted, SpeechStopped, SpeechSustained
from shared.pcm import decode, encode
from tests.fakes import Heard, profile

CALL = "CA1"
_MARK_MS = 200
_PIECE = bytes_of(_MARK_MS)


class ScriptedTranscriber:
    """Notes what it is told; the test says what it understands."""

    model = "scripted-1"

    def __init__(self) -> None:
        self.told: list[str | bytes] = []
        self.may_feed = asyncio.Event()
        self.may_feed.set()
        self.error: Exception | None = None
        self.closed = False

    async def feed(self, mulaw: bytes) -> None:
        self.told.append(mulaw)
        await self.may_feed.wait()
        if self.error is not None:
            raise self.error

    async def begin(self) -> None:
        self.told.append("begin")

    async def finish(self) -> None:
        self.told.append("finish")

    def usage(self) -> list[Usage]:
        fed = len(self.audio)
        return [Usage("scripted", self.model, round(fed / RATE, 2))] if fed else []

    async def close(self) -> None:
        self.closed = True

    @property
    def marks(self) -> list[str]:
        return [item for item in self.told if isinstance(item, str)]

    @property
    def audio(self) -> bytes:
        return b"".join(item for item in self.told if isinstance(item, bytes))


class Booth:
    """A session at work, and the line that it listens to. Its clock is 1000 s ahead of the caller's timeline."""

    def __init__(self, detector: SpeechDetector | None = None, line: int = 0) -> None:
        """`line`: the number of the line that was open before the session, since the time 1000."""
        self.bus = MemoryBus()
        self.now = 1000.0
        channel = CallChannel(self.bus, CALL, "stt", 1, lambda: self.now)
        self.call = Call(profile(), channel, line, 1000.0 if line else 0.0)
        self.line = CallChannel(self.bus, CALL, "gateway", line or 1)
        self.tts = CallChannel(self.bus, CALL, "tts", 1)
        self.transcriber = ScriptedTranscriber()
        self.vad = VadBatcher(Silero(), lambda work: None)
        self.session = SttSession(self.call, self.vad, detector, clock=lambda: self.now)
        self.heard: Heard
        self.seq = 0
        self.at_ms = 0
        self._reports: list[tuple[int, Playback]] = []
        """(when on the caller's timeline, what the gateway reports then)."""

    async def start(self) -> None:
        self.heard = await Heard.on(self.bus, CALL)
        await self.session.begin(self.transcriber)

    async def feed(self, mulaw: bytes) -> None:
        """Send whole frames, as time goes by with them."""
        for start in range(0, len(mulaw) - FRAME_BYTES + 1, FRAME_BYTES):
            self.now = 1000 + self.at_ms / 1000
            while self._reports and self._reports[0][0] <= self.at_ms:
                await self.line.send(self._reports.pop(0)[1])
            await self.line.send_audio_in(self.seq, self.at_ms, mulaw[start : start + FRAME_BYTES])
            await self.bus.settle()
            self.seq += 1
            self.at_ms += FRAME_MS
            self.vad.run()
        await self.settle()

    async def replay(self, mulaw: bytes, from_ms: int) -> None:
        """Send at once what the gateway has kept from `from_ms` to now; it goes on from there."""
        self.at_ms = from_ms
        for start in range(0, len(mulaw) - FRAME_BYTES + 1, FRAME_BYTES):
            self.seq = self.at_ms // FRAME_MS
            await self.line.send_audio_in(self.seq, self.at_ms, mulaw[start : start + FRAME_BYTES])
            self.at_ms += FRAME_MS
        self.seq += 1
        await self.bus.settle()
        self.vad.run()
        await self.settle()

    async def agent_speaks(self, mulaw: bytes, generation: int = 1) -> None:
        """The whole reply comes from tts at once; its playback begins now and goes on as time goes by."""
        for start in range(0, len(mulaw), _PIECE):
            piece, last = mulaw[start : start + _PIECE], start + _PIECE >= len(mulaw)
            await self.tts.send_audio_out(generation, start // 8, piece, "", last=last)
        await self.bus.settle()
        for heard_ms in range(0, duration_ms(mulaw) + _MARK_MS, _MARK_MS):
            over = heard_ms >= duration_ms(mulaw)
            state = "finished" if over else "playing" if heard_ms else "started"
            heard_ms = min(heard_ms, duration_ms(mulaw))
            report = {"generation": generation, "state": state, "heard_ms": heard_ms, "heard": ""}
            self._reports.append((self.at_ms + heard_ms, Playback.model_validate(report)))

    async def settle(self) -> None:
        """Let the tasks of the session do what they can."""
        for _ in range(1000):
            await asyncio.sleep(0)
        await self.bus.settle()

    async def understand(self, *hypotheses: Hypothesis) -> None:
        for hypothesis in hypotheses:
            self.session.hear(hypothesis)
        await self.settle()

    @property
    def told(self) -> list[tuple[str, int]]:
        speech = (SpeechStarted, SpeechSustained, SpeechStopped, SpeechPartial, SpeechFinal)
        return [(m.suffix.split(".")[1], m.utterance) for m in self.heard.messages if isinstance(m, speech)]


def silence(ms: int) -> bytes:
    return SILENCE * bytes_of(ms)


@asynccontextmanager
async def open_booth(detector: SpeechDetector | None = None, line: int = 0) -> AsyncIterator[Booth]:
    made = Booth(detector, line)
    await made.start()
    try:
        yield made
    finally:
        await made.session.close()
        await made.call.close()


def noisy(mulaw: bytes, rms: float) -> bytes:
    """`mulaw` with white noise of `rms` (16 bit) under it; the same each time."""
    noise = np.random.default_rng(7).standard_normal(len(mulaw)) * rms
    return encode(np.clip(decode(mulaw) + noise, -32768, 32767).astype(np.int16))


def mixed(*tracks: tuple[int, float, bytes]) -> bytes:
    """Tracks that sound together: (begins at ms, gain in dB, audio)."""
    length = max(bytes_of(at_ms) + len(mulaw) for at_ms, _, mulaw in tracks)
    total = np.zeros(length)
    for at_ms, gain_db, mulaw in tracks:
        total[bytes_of(at_ms) : bytes_of(at_ms) + len(mulaw)] += decode(mulaw) * 10 ** (gain_db / 20)
    return encode(np.clip(total, -32768, 32767).astype(np.int16))
