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
from simulator.bell import Bell
from simulator.carrier import Carrier, Gateway, WebhookFailed
from simulator.clockwork import Beat, clockwork
from simulator.echo import Echo
from simulator.line import Line
from simulator.mouth import FrameClock, Mouth, Spoken
from simulator.playback import Playback
from simulator.twiml import BadTwiml, Dial, Hangup, Pause, Play, Redirect, Reject, Say, Stream, Verb, parse
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
        caller: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`http` outlives the call; `clock` gives seconds and never runs back.

        `caller` is an E.164 number; empty: any, since gateways limit the calls of one number.
        """
        caller = caller or f"+1555{secrets.randbelow(10**7):07d}"
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
        self._bell = Bell()
        self._call: asyncio.Task[None] | None = None
        self._frames = FrameClock(0.0)
        self._beat: Beat | None = None
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
            self._line.press(digit)

    async def hang_up(self) -> None:
        """End the call, if it has not ended: stop message, closed socket, status callback."""
        self._hung_up.set()
        if self._call is not None:
            await self._call

    async def changed(self, timeout_s: float) -> None:
        """Return when the gateway sent something or the call ended, at the latest after `timeout_s`."""
        await self._bell.wait(timeout_s)

    def recording(self) -> tuple[bytes, bytes]:
        """Both sides from the first stream on: what the caller said, and what the caller heard."""
        end = self.playback.started + len(self._said) / RATE
        return bytes(self._said), self.playback.between(self.playback.started, end)

    def _notify(self) -> None:
        self._documents = 0
        self._bell.ring()

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
            self._stop_clock()
            self.record.ended = ended
            self._mouth.abandon(CallOver(ended))
            self._notify()

    async def _tell_completed(self, seconds: float) -> None:
        self._stop_clock()
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
                await self._wait(await self._sound_s(url))
            case Dial(number):
                return f"the caller was sent on to {number}"
            case Pause(seconds):
                await self._wait(seconds)
            case Hangup():
                return self._agent_hung_up()
            case Reject(reason):
                return f"the call was rejected: {reason}"
        return _CALLER_HUNG_UP if self._hung_up.is_set() else ""

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hung_up.wait(), seconds)
        # Documents that take their time are no loop.
        self._documents = 0

    async def _sound_s(self, url: str) -> float:
        """Fetch a file as the carrier does; how long it sounds."""
        try:
            async with self._http.get(url) as response:
                body = await response.read()
            if response.status == 200 and body.startswith(b"RIFF") and b"data" in body:
                return len(body[body.index(b"data") + 8 :]) / RATE
            problem = f"status {response.status}, {len(body)} bytes of {response.content_type}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            problem = str(error) or type(error).__name__
        self.record.faults.append(f"<Play>{url}: {problem}")
        return 0.0

    def _agent_hung_up(self) -> str:
        if self._answered.is_set() or not self.record.sentences:
            return "the agent hung up"
        return f"not connected, the carrier said: {' '.join(self.record.sentences)}"

    async def _stream(self, verb: Stream) -> None:
        sids = (self._carrier.gateway.account_sid, self.id)
        try:
            async with asyncio.timeout(media.HANDSHAKE_S):
                line = await media.connect(verb.url, self._carrier.signature(verb.url), sids, verb.parameters)
        except (TimeoutError, OSError) as error:
            self.record.faults.append(f"media stream {verb.url}: {error or type(error).__name__}")
            return
        self.record.streams += 1
        self._line = line
        failed = self._start_clock().failed
        self._answered.set()
        receiving = asyncio.create_task(line.receive(self.playback, self.clock, self._notify))
        hanging_up = asyncio.create_task(self._hung_up.wait())
        try:
            await asyncio.wait((receiving, hanging_up, failed), return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                await failed
        finally:
            self._line = None
            hanging_up.cancel()
            await self._close(line, receiving)

    async def _close(self, line: Line, receiving: asyncio.Task[None]) -> None:
        if self._hung_up.is_set():
            line.stop()
        receiving.cancel()
        await asyncio.wait((receiving,))
        if not receiving.cancelled() and (error := receiving.exception()) is not None:
            if not isinstance(error, BadMessage):
                raise error
            self.record.faults.append(str(error))
        await line.close()
        self.playback.drop(self.clock())

    def _start_clock(self) -> Beat:
        if self._beat is None:
            self.playback = Playback(self.clock())
            self._frames = FrameClock(self.playback.started)
            self._beat = clockwork().start(self._send_due)
        return self._beat

    def _stop_clock(self) -> None:
        if self._beat is not None:
            clockwork().stop(self._beat)

    def _send_due(self) -> None:
        """Send the frames that should have left by now: one, or more after a stall."""
        for _ in range(self._frames.due(self.clock())):
            frame = self._mouth.next_frame()
            if self.echo is not None:
                frame = self.echo.frame(self.playback, self.playback.started + len(self._said) / RATE, frame)
            self._said += frame
            if self._line is None:
                self.record.lost_frames += 1
            else:
                self._line.send_frame(frame)
            self._mouth.left(self.clock())
