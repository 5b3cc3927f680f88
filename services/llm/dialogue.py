"""The dialogue of one call: who speaks, what is answered, what is remembered.

Everything that decides is synchronous, so that no two handlers come between each other; what takes
time (the model, the broker) runs beside.
"""

import time
from collections.abc import Callable, Sequence

import structlog

from services.llm.actions import Action, Commit, HangUp, Interrupt, Pause, Resume, Say, Speculate
from services.llm.answer import Answerer
from services.llm.memory import Memory
from services.llm.outbox import Outbox
from services.llm.provider import ChatModel
from services.llm.speaker import Speaker
from services.llm.store import MemoryStore
from services.llm.timer import Timer
from services.llm.turns import Turns
from shared.call import Call
from shared.live_turns import LiveTurns
from shared.messages import (
    CallEnded,
    CallStarted,
    Control,
    Digit,
    LeaseChanged,
    Message,
    Playback,
    ReplyOnLine,
    SpeechFinal,
    SpeechPartial,
    SpeechStarted,
    SpeechStopped,
    SpeechSustained,
    StageTaken,
    TranscriptCaller,
)
from shared.turn_taking import TurnProfile

log = structlog.get_logger()

_SPEECH = (SpeechStarted, SpeechSustained, SpeechPartial, SpeechFinal, SpeechStopped)
_CLOSE_S = 1.0
_TAKE_UP_S = 0.3
"""The gateway tells a worker that takes over how far the reply is; without that it goes on after so long."""
_SAVE_HEARD_MS = 2000
"""So much may be heard before it is kept by itself; the line knows it better, as long as it lives."""


class Dialogue:
    """The session of the stage llm. Owns the generation and the numbers of the turns."""

    def __init__(
        self,
        call: Call,
        provider: str,
        model: ChatModel,
        memory: Memory,
        store: MemoryStore,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`memory` holds what was said before, if another worker had the call."""
        self._call = call
        self._memory = memory
        self._store = store
        store.superseded = self._leave
        self._clock = clock
        self._turns = Turns(call.profile.turns, memory.record.standing)
        self._live_turns = LiveTurns(call, self._on_turns_changed)
        self._outbox = Outbox(call)
        self._answerer = Answerer(call, provider, model, self._outbox, clock)
        self._speaker = Speaker(call, memory, self._turns, self._outbox, self._answerer, self._save, clock)
        self._told_at = 0.0
        """When the message that is being handled was published; 0: it is the timer."""
        self._timer = Timer(self._ring, clock)
        self._waiting = Timer(lambda: self._take_up(ReplyOnLine()), clock)
        self._heard = self._saved = (0, 0)
        """(generation, ms): how much of a reply was heard, as the line told last, and as it was kept last."""
        self._early: list[Message] | None = [] if call.line else None
        """What came before it was known how far the worker before has come; None: it is known."""
        self._closed = False
        self._left = False
        """The session has closed."""
        self._ended = False
        """The call is over, not only this worker's part in it."""

    async def listen(self) -> None:
        """Subscribe to what the dialogue hears of."""
        channel = self._call.channel
        await channel.on(self._hear, *_SPEECH)
        await channel.on(self._hear, Playback)
        await channel.on(self._hear, Digit)
        await self._live_turns.listen()
        await channel.on(self._hear, StageTaken)
        await channel.on(self._hear, CallStarted, LeaseChanged, CallEnded)
        if self._early is not None:
            self._waiting.set(self._clock() + _TAKE_UP_S)

    async def _hear(self, message: Message) -> None:
        if isinstance(message, CallEnded):
            await self._on_ended()
        elif self._closed and not isinstance(message, Playback):
            return
        elif self._early is None:
            self._handle(message)
        elif isinstance(message, StageTaken) and self._is_mine(message):
            self._take_up(message.reply)
        else:
            self._early.append(message)

    def _is_mine(self, taken: StageTaken) -> bool:
        return taken.leased == self._call.channel.stage and taken.lease_epoch == self._call.channel.epoch

    def _take_up(self, line: ReplyOnLine) -> None:
        """Go on where the worker before stopped."""
        early, self._early = self._early or [], None
        self._waiting.set(None)
        log.info("dialogue_taken_up", call_id=self._call.id, begun=self._memory.begun, reply=line.generation)
        self._open_line(self._call.line)
        self._speaker.take_up(line)
        for message in early:
            self._handle(message)
        self._act([])

    def _handle(self, message: Message) -> None:
        self._told_at = message.at
        actions: Sequence[Action] = ()
        if isinstance(message, _SPEECH):
            actions = self._turns.handle(message, self._clock())
        elif isinstance(message, Playback):
            actions = self._follow(message)
        elif isinstance(message, Digit):
            actions = self._press(message)
        elif isinstance(message, CallStarted):
            self._open_line(message.epoch)
        elif isinstance(message, StageTaken):
            self._stage_taken(message)
        elif isinstance(message, LeaseChanged) and message.state == "lost":
            self._stage_lost(message)
        self._act(actions)

    def _follow(self, playback: Playback) -> Sequence[Action]:
        record, now = self._memory.record, self._clock()
        self._heard = generation, heard_ms = playback.generation, playback.heard_ms
        # Nobody has cleared the newest reply: its line is gone, and the next one goes on with it.
        stranded = playback.state == "cleared" and generation == record.generation
        self._speaker.follow(playback)
        if heard_ms - (self._saved[1] if self._saved[0] == generation else 0) >= _SAVE_HEARD_MS:
            self._save()
        # After the memory: a turn that waited for the reply to end must see it.
        return () if stranded else self._turns.handle(playback, now)

    def _press(self, digit: Digit) -> Sequence[Action]:
        record = self._memory.record
        if digit.number and digit.number <= record.key:
            return ()
        log.info("digit_pressed", call_id=self._call.id)
        record.key = max(record.key, digit.number)
        return self._turns.handle(digit, self._clock())

    def _open_line(self, line: int) -> None:
        """The line is open; or another, after the one before broke."""
        record = self._memory.record
        before, record.line = record.line, max(record.line, line)
        if before and before >= line:
            return
        self._turns.begin(self._clock())
        greeting = self._call.profile.greeting
        if before:
            self._speaker.change_line()
        elif not self._memory.begun and greeting.strip():
            self._speaker.say(greeting, protected=self._turns.profile.barge_in.protect_greeting)

    def _stage_lost(self, lease: LeaseChanged) -> None:
        if lease.leased == "stt":
            self._turns.stt_lost(lease.lease_epoch)
        elif lease.leased == "tts":
            self._speaker.lose_voice(lease.lease_epoch)

    def _stage_taken(self, taken: StageTaken) -> None:
        if taken.leased == "stt":
            self._turns.stt_taken(taken.lease_epoch, self._clock())
        elif taken.leased == "tts":
            self._speaker.change_voice(taken.lease_epoch, taken.reply)

    def _on_turns_changed(self, profile: TurnProfile) -> None:
        self._turns.profile = profile
        self._act([])

    def _act(self, actions: Sequence[Action]) -> None:
        if self._closed or self._early is not None:
            return
        for action in actions:
            self._do(action)
        standing = self._turns.standing
        if standing != self._memory.record.standing:
            self._save()
        self._timer.set(self._turns.deadline)

    def _do(self, action: Action) -> None:
        match action:
            case Commit():
                turn_id = self._memory.caller_said(action.text)
                self._speaker.answer(turn_id, action, max(action.due_at, self._told_at))
                self._outbox.send(TranscriptCaller(turn_id=turn_id, text=action.text))
            case Speculate(text):
                self._speaker.prepare(text)
            case Pause(generation):
                self._outbox.send(Control(action="pause", generation=generation))
            case Resume(generation):
                self._outbox.send(Control(action="resume", generation=generation))
            case Interrupt():
                self._speaker.interrupt()
            case Say(text, farewell):
                reply = self._speaker.say(text)
                if farewell:
                    self._speaker.hang_up(reply.generation, "caller_silent")
            case HangUp(reason):
                self._speaker.hang_up(0, reason)

    def _save(self) -> None:
        record = self._memory.record
        record.standing = self._turns.standing
        if self._memory.begun or record.key:
            self._saved = self._heard
            self._store.save(record)

    def _ring(self) -> None:
        self._call.spawn(self._tick())

    async def _tick(self) -> None:
        self._told_at = 0.0
        self._act(self._turns.tick(self._clock()))

    def _leave(self) -> None:
        """A newer lease has the dialogue: nobody listens to this worker any more, and nobody need hear of it."""
        self._stop()
        if self._call.failed is not None:
            self._call.failed()

    def _stop(self) -> None:
        self._closed = True
        self._waiting.set(None)
        self._timer.set(None)
        self._speaker.close()

    async def _on_ended(self) -> None:
        self._ended = True
        if self._left:
            await self._store.forget()

    async def close(self) -> None:
        """The call has ended or moved on."""
        self._stop()
        await self._outbox.close(_CLOSE_S)
        await self._store.close(_CLOSE_S)
        await self._answerer.close()
        self._left = True
        if self._ended:
            await self._store.forget()
