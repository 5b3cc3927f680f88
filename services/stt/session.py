"""One call's recognition: the caller's audio in, speech events out, in order."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from services.stt.arrivals import Arrivals
from services.stt.caller_line import CallerLine
from services.stt.detector import SpeechDetector, Started, Stopped
from services.stt.echo import EchoGuard
from services.stt.history import History
from services.stt.intake import Intake, Mark
from services.stt.provider import BilledTranscriber, Hypothesis, Transcriber
from services.stt.quiet import QuietLine
from services.stt.timeline import Timeline
from services.stt.utterances import Utterances
from services.stt.vad import WINDOW_MS, VadBatcher
from services.stt.voice import Voice
from shared.audio import duration_ms
from shared.bus import BusError
from shared.call import Call
from shared.live_turns import LiveTurns
from shared.messages import AudioIn, Message, Playback, SpeechStopped, SpeechSustained, StageTaken, Word

log = structlog.get_logger()

_DOUBT_S = 1.0
"""So long after a loss the call is leased anew, or nobody has noticed it but this session."""
_PATIENCE_EVERY_S = 1.0
_PATIENCE = 10
"""So often the llm is asked to wait for the last words of one utterance: longer than providers are tried in turn."""
_AROUND_MS = 64
"""So much before and after an utterance helps to tell whether it was echo."""
_TOLD_AGAIN_S = 3.0
"""What the llm before was told so shortly before it was lost may not have become part of the conversation."""


class SttSession:
    """Hears one caller."""

    def __init__(
        self,
        call: Call,
        vad: VadBatcher,
        detector: SpeechDetector | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """The session works once `begin` was called."""
        self._call = call
        self._clock = clock
        self._detector = detector or SpeechDetector()
        self._vad = vad.stream(self._on_window)
        self._intake = Intake()
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()
        self._sure = asyncio.Event()
        """Cleared while it may be that another session hears the caller again."""
        self._sure.set()
        self._doubt: asyncio.TimerHandle | None = None
        self._history = History(clock)
        self._arrivals = Arrivals(clock, call.line_opened_at)
        self._utterances = Utterances(self._arrivals, self._was_echo, call.line)
        self._voice = Voice(0)
        """In the utterance that is open."""
        self._line = CallerLine()
        self._quiet = QuietLine()
        self._echo = EchoGuard(self._line)
        self._turns = LiveTurns(call)
        self._timeline = Timeline()
        self._newest = (call.line, -1)
        """(epoch, seq) of the newest frame."""
        self._transcriber: BilledTranscriber | None = None
        self._work: list[asyncio.Task[None]] = []

    async def begin(self, transcriber: BilledTranscriber) -> None:
        """Listen to the call, with a transcriber that was opened with `hear`; it belongs to the session."""
        self._transcriber = transcriber
        self._work = [self._call.spawn(self._feed(transcriber)), self._call.spawn(self._publish())]
        await self._turns.listen()
        await self._call.channel.on_audio_out("tts", self._echo.agent_said)
        await self._call.channel.on(self._on_playback, Playback)
        await self._call.channel.on(self._on_takeover, StageTaken)
        await self._call.channel.on_audio_in(self._on_frame)

    async def _on_playback(self, message: Message) -> None:
        if isinstance(message, Playback):
            self._echo.agent_heard(message, self._clock())

    async def _on_takeover(self, message: Message) -> None:
        """Another llm knows nothing of what was told while it was not there."""
        if isinstance(message, StageTaken) and message.leased == "llm":
            for told in self._history.since(message.since - _TOLD_AGAIN_S):
                self._outbox.put_nowait(told)

    def _on_frame(self, frame: AudioIn) -> None:
        order = (frame.epoch, frame.seq)
        if order <= self._newest:
            # A gateway sends its last seconds again when it is not sure that they arrived.
            return
        if frame.epoch > self._newest[0]:
            self._begin_line(frame.epoch)
        elif self._newest[1] >= 0 and frame.seq > self._newest[1] + 1:
            self._wait_for_another()
        self._newest = order
        self._arrivals.add(frame.timestamp_ms + duration_ms(frame.payload))
        self._line.add(frame.timestamp_ms, frame.payload)
        self._quiet.add(frame.timestamp_ms, frame.payload)
        self._intake.put(frame, kept=self._arrivals.catching_up)
        self._vad.feed(frame.timestamp_ms, frame.payload)

    def _wait_for_another(self) -> None:
        """The bus has lost frames. Most likely the gateway has the caller heard again, from what it kept: until that
        is known, words with a hole in them had better not be answered."""
        self._sure.clear()
        if self._doubt is not None:
            self._doubt.cancel()
        self._doubt = asyncio.get_running_loop().call_later(_DOUBT_S, self._sure.set)

    def _begin_line(self, line: int) -> None:
        """Another line took over, with a timeline of its own: what was being said on the old one is over."""
        self._vad.catch_up()
        stopped = self._detector.restart()
        last_ms = self._arrivals.end_ms if stopped is None else self._line.last_sound(stopped.t_ms)
        self._send(self._utterances.stop(last_ms))
        self._utterances.line = line
        self._vad.restart()
        self._arrivals.clear()
        self._line.clear()
        self._quiet.clear()

    def _on_window(self, probability: float, start_ms: int) -> None:
        change = self._detector.hear(probability, start_ms)
        if change is None and self._utterances.open is None:
            return
        begin_ms, end_ms = start_ms, start_ms + WINDOW_MS
        if isinstance(change, Started):
            begin_ms = change.t_ms
            self._send(self._utterances.start(begin_ms))
            self._intake.mark(Mark("begin", self._utterances.open or 0), end_ms)
        elif isinstance(change, Stopped):
            self._send(self._utterances.stop(self._line.last_sound(change.t_ms)), end_ms)
        elif not self._detector.speaking and self._utterances.unconfirmed(start_ms):
            self._send(self._utterances.stop(start_ms), end_ms)
        if self._detector.voiced and (utterance := self._utterances.open) is not None:
            self._count(utterance, begin_ms, end_ms)

    def _count(self, utterance: int, begin_ms: int, end_ms: int) -> None:
        """There is voice from `begin_ms` to `end_ms`: tell when there is enough of the caller's."""
        if self._voice.utterance != utterance:
            self._begin_voice(utterance, begin_ms, end_ms)
        voice = self._voice
        min_ms = self._turns.profile.barge_in.length_after(voice.sustained_ms)
        if voice.own and min_ms is None:
            return
        voice.add(begin_ms, end_ms)
        if (stretch := voice.due(min_ms)) is not None:
            voice.judge(echo=self._is_echo(*stretch))
            self._send(self._utterances.suspect(echo=voice.suspect))
        if min_ms is not None and voice.long_enough(min_ms):
            voice.sustained_ms = voice.own_ms
            at = self._arrivals.before(end_ms)
            self._send([SpeechSustained(utterance=utterance, t_ms=end_ms, speech_ms=voice.own_ms, reached_at=at)])

    def _begin_voice(self, utterance: int, begin_ms: int, end_ms: int) -> None:
        self._voice = Voice(utterance)
        quiet = self._quiet.before(begin_ms)
        if quiet is not None and self._echo.excluded(*map(self._arrivals.before, quiet)):
            self._voice.own = True
        # Its first words wait for the first judgement.
        at = self._arrivals.before(end_ms)
        self._send(self._utterances.suspect(echo=not self._voice.own and self._echo.possible(at, at)))

    def _was_echo(self, utterance: int | None, from_ms: int, to_ms: int) -> bool:
        """Whether an utterance, or what is none yet, was nothing but the agent's voice."""
        if self._voice.utterance == utterance and (self._voice.own or self._voice.certainly_echo):
            return not self._voice.own
        return self._is_echo(from_ms - _AROUND_MS, min(to_ms + _AROUND_MS, self._arrivals.end_ms))

    def _is_echo(self, from_ms: int, to_ms: int) -> bool:
        return self._echo.is_echo(from_ms, to_ms, self._arrivals.before(to_ms))

    def hear(self, hypothesis: Hypothesis) -> None:
        """The transcriber's listener."""
        words = tuple(self._placed(word) for word in hypothesis.words)
        silent_ms = hypothesis.silent_from_ms
        if silent_ms is not None:
            silent_ms = self._timeline.locate(silent_ms)
        self._send(self._utterances.hear(replace(hypothesis, words=words, silent_from_ms=silent_ms)))

    def _placed(self, word: Word) -> Word:
        start_ms, end_ms = self._timeline.locate(word.start_ms), self._timeline.locate(word.end_ms)
        return Word(text=word.text, start_ms=start_ms, end_ms=end_ms, confidence=word.confidence)

    def _send(self, messages: Sequence[Message], heard_ms: int | None = None) -> None:
        """Tell `messages`, which are known from the audio before `heard_ms`; None: from all that came."""
        for message in messages:
            if isinstance(message, SpeechStopped) and self._utterances.owed(message.utterance):
                self._intake.mark(Mark("finish", message.utterance), heard_ms)
                self._call.spawn(self._ask_for_patience(message.utterance))
            self._history.add(message)
            self._outbox.put_nowait(message)

    async def _ask_for_patience(self, utterance: int) -> None:
        """Last words that take long, because another provider must hear them, are waited for as long as this tells."""
        for _ in range(_PATIENCE):
            await asyncio.sleep(_PATIENCE_EVERY_S)
            if not self._utterances.owed(utterance):
                return
            self._outbox.put_nowait(self._history.newest(utterance))

    async def _publish(self) -> None:
        """One sender, so that the messages keep their order."""
        while True:
            message = await self._outbox.get()
            await self._sure.wait()
            try:
                await self._call.channel.send(message)
            except BusError as error:
                # The broker is away: worthless when late, and the call goes on when it is back.
                log.warning("speech_not_sent", call_id=self._call.id, suffix=message.suffix, error=str(error))

    async def _feed(self, transcriber: Transcriber) -> None:
        """Beside the handlers: a slow provider delays its own audio and not the VAD."""
        while True:
            await self._intake.filled()
            self._vad.catch_up()
            item = self._intake.take()
            if isinstance(item, AudioIn):
                self._timeline.feed(item.timestamp_ms, duration_ms(item.payload))
                await transcriber.feed(item.payload)
            elif item.kind == "begin":
                await transcriber.begin()
            elif self._utterances.owed(item.utterance):
                # Else the provider has noticed the end by itself, while this waited.
                await transcriber.finish()

    async def close(self) -> None:
        self._vad.close()
        if self._doubt is not None:
            self._doubt.cancel()
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        if self._transcriber is None:
            return
        for used in self._transcriber.usage():
            await self._call.count(used.provider, used.model, audio_s=used.audio_s)
        await self._transcriber.close()
