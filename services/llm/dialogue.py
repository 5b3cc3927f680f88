"""The dialogue of one call: who speaks, what is answered, what is remembered.

Everything that decides is synchronous, so that no two handlers come between each other; what takes
time (the model, the broker) runs beside.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence

import structlog

from services.llm.actions import Action, Commit, HangUp, Interrupt, Pause, Resume, Say, Speculate
from services.llm.answer import Answerer
from services.llm.draft import Draft
from services.llm.latency import Latency, observe
from services.llm.memory import Memory, MemoryStore
from services.llm.outbox import Outbox
from services.llm.prompt import system_prompt
from services.llm.provider import ChatMessage, ChatModel
from services.llm.reply import Reply
from services.llm.turns import Turns
from shared.call import Call
from shared.live_turns import LiveTurns
from shared.messages import (
    CallStarted,
    Control,
    Digit,
    Message,
    Playback,
    ReplyText,
    SpeechFinal,
    SpeechPartial,
    SpeechStarted,
    SpeechStopped,
    SpeechSustained,
    TranscriptAgent,
    TranscriptCaller,
)
from shared.turn_taking import TurnProfile

log = structlog.get_logger()

_CLOSE_S = 1.0
_UNASKED = 0
"""The turn that a greeting or a reprompt answers: none."""


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
        self._clock = clock
        self._turns = Turns(call.profile.turns)
        self._live_turns = LiveTurns(call, self._on_turns_changed)
        self._outbox = Outbox(call)
        self._answerer = Answerer(call, provider, model, self._outbox, clock)
        self._answering: asyncio.Task[None] | None = None
        self._draft: Draft | None = None
        self._latency: dict[int, Latency] = {}
        """Of the newest reply, by its generation, until it is heard."""
        self._told_at = 0.0
        """When the message that is being handled was published; 0: it is the timer."""
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def listen(self) -> None:
        """Subscribe to what the dialogue hears of."""
        channel = self._call.channel
        speech = (SpeechStarted, SpeechSustained, SpeechPartial, SpeechFinal, SpeechStopped)
        await channel.on(self._on_speech, *speech)
        await channel.on(self._on_playback, Playback)
        await channel.on(self._on_digit, Digit)
        await self._live_turns.listen()
        await channel.on(self._on_started, CallStarted)
        if self._memory.begun:
            # The line is open already.
            self._turns.begin(self._clock())
            self._arm()

    async def _on_speech(self, message: Message) -> None:
        if isinstance(message, SpeechStarted | SpeechSustained | SpeechPartial | SpeechFinal | SpeechStopped):
            self._told_at = message.at
            self._act(self._turns.handle(message, self._clock()))

    async def _on_playback(self, message: Message) -> None:
        if not isinstance(message, Playback):
            return
        over, cleared = message.state in ("finished", "cleared"), message.state == "cleared"
        reply = self._memory.heard(message.generation, message.heard, over=over, interrupted=cleared)
        if reply is not None:
            self._measure(reply.turn_id, message)
        if reply is not None and over:
            if message.heard.strip():
                self._outbox.send(
                    TranscriptAgent(
                        turn_id=reply.turn_id, generation=reply.generation, text=message.heard, interrupted=cleared
                    )
                )
            self._save()
        # After the memory: a turn that waited for the reply to end must see it.
        self._told_at = message.at
        self._act(self._turns.handle(message, self._clock()))

    async def _on_digit(self, message: Message) -> None:
        if isinstance(message, Digit):
            log.info("digit_pressed", call_id=self._call.id)
            self._told_at = message.at
            self._act(self._turns.handle(message, self._clock()))

    def _on_turns_changed(self, profile: TurnProfile) -> None:
        self._turns.profile = profile
        self._act([])

    async def _on_started(self, message: Message) -> None:
        self._turns.begin(self._clock())
        greeting = self._call.profile.greeting
        if not self._memory.begun and greeting.strip():
            # Whole, so that the voice finds it among those it has rendered before.
            self._say(greeting, protected=self._turns.profile.barge_in.protect_greeting)
        self._act([])

    def _say(self, text: str, *, protected: bool = False) -> Reply:
        reply = self._reply(_UNASKED, protected=protected)
        reply.say(text)
        reply.end()
        self._save()
        return reply

    def _reply(self, turn_id: int, *, protected: bool = False) -> Reply:
        generation = self._memory.reply_began(turn_id)
        self._turns.reply_began(generation, self._clock(), protected=protected)
        return Reply(generation, turn_id, self._send_reply)

    def _send_reply(self, message: Message) -> None:
        if isinstance(message, ReplyText):
            self._turns.agent_said(message.text, self._clock())
        self._outbox.send(message)

    def _act(self, actions: Sequence[Action]) -> None:
        if self._closed:
            return
        for action in actions:
            self._do(action)
        self._arm()

    def _do(self, action: Action) -> None:
        match action:
            case Commit():
                self._commit(action)
            case Speculate(text):
                self._discard_draft()
                self._draft = self._answerer.prepare(self._prompt(text))
            case Pause(generation):
                self._outbox.send(Control(action="pause", generation=generation))
            case Resume(generation):
                self._outbox.send(Control(action="resume", generation=generation))
            case Interrupt():
                self._stop_answering()
                self._outbox.send(Control(action="clear", generation=self._memory.next_generation()))
                self._save()
            case Say(text, farewell):
                self._stop_answering()
                reply = self._say(text)
                if farewell:
                    self._hang_up(reply.generation, "caller_silent")
            case HangUp(reason):
                self._stop_answering()
                self._hang_up(0, reason)

    def _hang_up(self, generation: int, reason: str) -> None:
        log.info("agent_hangs_up", call_id=self._call.id, generation=generation, reason=reason)
        self._outbox.send(Control(action="hangup", generation=generation))

    def _prompt(self, upcoming: str = "") -> list[ChatMessage]:
        return self._memory.prompt(system_prompt(self._call.profile), upcoming)

    def _commit(self, commit: Commit) -> None:
        self._stop_answering()
        turn_id = self._memory.caller_said(commit.text)
        self._outbox.send(TranscriptCaller(turn_id=turn_id, text=commit.text))
        messages = self._prompt()
        reply = self._reply(turn_id)
        latency = Latency(commit, max(commit.due_at, self._told_at), self._clock())
        self._latency = {reply.generation: latency}
        self._save()
        self._answering = self._call.spawn(self._answer(reply, messages, latency))

    async def _answer(self, reply: Reply, messages: Sequence[ChatMessage], latency: Latency) -> None:
        draft, self._draft = self._draft, None
        if await self._answerer.answer(reply, messages, latency, draft):
            self._hang_up(reply.generation, "conversation_complete")

    def _stop_answering(self) -> None:
        if self._answering is not None:
            self._answering.cancel()
            self._answering = None

    def _discard_draft(self) -> None:
        if self._draft is not None:
            self._draft.discard()
            self._draft = None

    def _measure(self, turn_id: int, playback: Playback) -> None:
        latency = self._latency.get(playback.generation)
        if latency is None:
            return
        if playback.state == "started":
            latency.started(playback)
        turn = latency.audible(playback, turn_id)
        if turn is not None:
            del self._latency[playback.generation]
            observe(turn)
            self._outbox.record(turn)

    def _save(self) -> None:
        self._store.save(self._memory.record)

    def _arm(self) -> None:
        """Set the one timer to the next deadline of the turns."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._turns.deadline
        if deadline is not None:
            # uvloop rounds to milliseconds; a timer that fires early would have to be set again.
            delay_s = math.ceil(max(0.0, deadline - self._clock()) * 1000) / 1000
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(loop.time() + delay_s, lambda: self._call.spawn(self._tick()))

    async def _tick(self) -> None:
        self._told_at = 0.0
        self._act(self._turns.tick(self._clock()))

    async def close(self) -> None:
        """The call has ended or moved on."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._stop_answering()
        self._discard_draft()
        await self._outbox.close(_CLOSE_S)
        await self._store.close(_CLOSE_S)
        await self._answerer.close()
