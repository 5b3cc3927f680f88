"""A phone call through the carrier: the webhook's verbs one after the other, the caller's voice and keys."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urljoin

import aiohttp

from shared.audio import RATE
from simulator import line as media
from simulator.carrier import Carrier, Gateway, WebhookFailed
from simulator.echo import Echo
from simulator.line import Line
from simulator.mouth import FrameClock, Mouth, Spoken
from simulator.playback import Playback
from simulator.twiml import BadTwiml, Hangup, Pause, Play, Redirect, Reject, Say, Stream, Verb, parse
from simulator.wire import BadMessage

MAX_DOCUMENTS = 20
"""TwiML documents without any audio from the gateway between them: more is a loop."""


_CALLER_HUNG_UP = "the caller hung up"


class CallOver(Exception):
    """The call has ended; the message says how."""


@dataclass(slots=True)
class CallRecord:
    """What happened on the line."""

    sentences: list[str] = field(default_factory=list)
    """What the carrier spoke itself (`<Say>`), and files it played."""
    documents: int = 0
    """TwiML documents that the gateway answered with."""
    streams: int = 0
    """Media streams that were opened."""
    faults: list[str] = field(default_factory=list)
    """What Twilio would have logged as an error."""
    lost_frames: int = 0
    """Frames of the caller that left while no stream was open."""
    ended: str = ""
    """How the call ended; empty while it lasts."""


class Phone:
    """One call. The caller's clock starts with the first media stream and goes on between streams."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        gateway: Gateway,
        dialled: str,
        caller: str = "+15550123",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`http` outlives the call; `clock` gives seconds and never runs back."""
        self.id = "CA" + secrets.token_hex(16)
        self.clock = clock
        self.record = CallRecord()
        self.playback = Playback(clock())
        """What the caller hears; empty until the first stream opens."""
        self.echo: Echo | None = None
        """Of a speakerphone; may be switched in mid-call."""
        self._http = http
        self._carrier = Carrier(http, gateway, self.id, caller, dialled)
        self._mouth = Mouth()
        self._said = bytearray()
        self._line: Line | None = None
        self._answered = asyncio.Event()
        self._hung_up = asyncio.Event()
        self._changed = asyncio.Event()
        self._call: asyncio.Task[None] | None = None
        self._clock_task: asyncio.Task[None] | None = None
        self._documents = 0

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return bool(self.record.ended)

    async def dial(self, timeout_s: float = 30.0) -> None:
        """Place the call; returns when the media stream is open. Raises CallOver when none opens."""
        self._call = asyncio.create_task(self._live())
        answered = asyncio.create_task(self._answered.wait())
        try:
            await asyncio.wait((self._call, answered), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            answered.cancel()
        if self._call.done():
            await self._call
        if not self._answered.is_set():
            if not self.over:
                await self.hang_up()
                raise CallOver(f"no media stream within {timeout_s:g} s")
            raise CallOver(self.record.ended)

    async def speak(self, mulaw: bytes) -> Spoken:
        """Say `mulaw` (8 kHz μ-law), also over the agent; returns when its last sample was sent. Raises CallOver."""
        return await self.speak_nowait(mulaw)

    def speak_nowait(self, mulaw: bytes) -> asyncio.Future[Spoken]:
        """Begin to say `mulaw`, after what is being said. Raises CallOver, as the future does."""
        if self.over:
            raise CallOver(self.record.ended)
        done: asyncio.Future[Spoken] = asyncio.get_running_loop().create_future()
        self._mouth.say(mulaw, done)
        return done

    def hush(self) -> None:
        """Stop talking in mid-word; whoever waits is told what was said until now."""
        self._mouth.hush(self.clock())

    async def press(self, digit: str) -> None:
        """Press a key. Raises CallOver; lost, as speech is, while no stream is open."""
        if self.over:
            raise CallOver(self.record.ended)
        if self._line is not None:
            await self._line.press(digit)

    async def hang_up(self) -> None:
        """End the call, if it has not ended: stop message, closed socket, status callback."""
        self._hung_up.set()
        if self._call is not None:
            await self._call

    async def changed(self, timeout_s: float) -> None:
        """Return when the gateway sent something or the call ended, at the latest after `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), max(0.0, timeout_s))

    def recording(self) -> tuple[bytes, bytes]:
        """Both sides from the first stream on: what the caller said, and what the caller heard."""
        end = self.playback.started + len(self._said) / RATE
        return bytes(self._said), self.playback.between(self.playback.started, end)

    def _notify(self) -> None:
        self._documents = 0
        self._changed.set()
        self._changed = asyncio.Event()

    async def _live(self) -> None:
        started = self.clock()
        ended = "the simulated carrier failed"
        try:
            try:
                ended = await self._follow("ringing", "")
            except (WebhookFailed, BadTwiml) as error:
                ended = str(error)
            await self._tell_completed(self.clock() - started)
        finally:
            if self._clock_task is not None:
                self._clock_task.cancel()
            self.record.ended = ended
            self._mouth.abandon(CallOver(ended))
            self._notify()

    async def _tell_completed(self, seconds: float) -> None:
        if self._clock_task is not None:
            self._clock_task.cancel()
        if not self.record.documents:
            return
        try:
            await self._carrier.completed(seconds)
        except WebhookFailed as error:
            self.record.faults.append(f"status callback: {error}")

    async def _follow(self, status: str, url: str) -> str:
        """Run documents until the call ends; returns how it ended."""
        while not self._hung_up.is_set():
            self._documents += 1
            if self._documents > MAX_DOCUMENTS:
                return f"the gateway redirected {MAX_DOCUMENTS} times and sent no audio"
            answer = await self._carrier.voice(status, url)
            self.record.documents += 1
            following: Redirect | None = None
            for verb in parse(answer.body):
                if isinstance(verb, Redirect):
                    following = verb
                    break
                if ended := await self._run(verb):
                    return ended
            if following is None:
                return "the agent hung up"
            status, url = "in-progress", urljoin(answer.url, following.url)
        return _CALLER_HUNG_UP

    async def _run(self, verb: Verb) -> str:
        """Run one verb; returns how the call ended, or "" when it goes on."""
        match verb:
            case Stream():
                await self._stream(verb)
            case Say(text):
                self.record.sentences.append(text)
            case Play(url):
                self.record.sentences.append(f"[plays {url}]")
            case Pause(seconds):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._hung_up.wait(), seconds)
            case Hangup():
                return self._agent_hung_up()
            case Reject(reason):
                return f"the call was rejected: {reason}"
        return _CALLER_HUNG_UP if self._hung_up.is_set() else ""

    def _agent_hung_up(self) -> str:
        if self._answered.is_set() or not self.record.sentences:
            return "the agent hung up"
        return f"not connected, the carrier said: {' '.join(self.record.sentences)}"

    async def _stream(self, verb: Stream) -> None:
        sids = (self._carrier.gateway.account_sid, self.id)
        try:
            async with asyncio.timeout(media.HANDSHAKE_S):
                line = await media.connect(
                    self._http, verb.url, self._carrier.signature(verb.url), sids, verb.parameters
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.record.faults.append(f"media stream {verb.url}: {error or type(error).__name__}")
            return
        self.record.streams += 1
        self._line = line
        if self._clock_task is None:
            self.playback = Playback(self.clock())
            self._clock_task = asyncio.create_task(self._keep_time(FrameClock(self.playback.started)))
        self._answered.set()
        receiving = asyncio.create_task(line.receive(self.playback, self.clock, self._notify))
        hanging_up = asyncio.create_task(self._hung_up.wait())
        try:
            await asyncio.wait((receiving, hanging_up, self._clock_task), return_when=asyncio.FIRST_COMPLETED)
            if self._clock_task.done():
                await self._clock_task
        finally:
            self._line = None
            hanging_up.cancel()
            await self._close(line, receiving)

    async def _close(self, line: Line, receiving: asyncio.Task[None]) -> None:
        if self._hung_up.is_set():
            await line.stop()
        receiving.cancel()
        await asyncio.wait((receiving,))
        if not receiving.cancelled() and (error := receiving.exception()) is not None:
            if not isinstance(error, BadMessage):
                raise error
            self.record.faults.append(str(error))
        await line.close()
        self.playback.drop(self.clock())

    async def _keep_time(self, frames: FrameClock) -> None:
        while True:
            for _ in range(frames.due(self.clock())):
                frame = self._mouth.next_frame()
                if self.echo is not None:
                    frame = self.echo.frame(self.playback, self.playback.started + len(self._said) / RATE, frame)
                self._said += frame
                if self._line is None:
                    self.record.lost_frames += 1
                else:
                    await self._line.frame(frame)
                self._mouth.left(self.clock())
            wake = frames.next_at
            if self._line is not None:
                await self._line.echo(self.playback.due(self.clock()))
                wake = min(wake, self.playback.next_mark or wake)
            await asyncio.sleep(max(0.0, wake - self.clock()))
