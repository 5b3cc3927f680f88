"""The dialogue of one call: who speaks, what is answered, what is remembered.

Everything that decides is synchronous, so that no two handlers come between each other; what takes
time (the model, the broker) runs beside.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence

import structlog

from services.llm.actions import Action, Commit
from services.llm.answer import Answerer
from services.llm.clauses import Clauses
from services.llm.latency import Latency, observe
from services.llm.memory import Memory, MemoryStore
from services.llm.outbox import Outbox
from services.llm.prompt import system_prompt
from services.llm.provider import ChatModel
from services.llm.reply import Reply
from services.llm.turns import Turns
from shared.call import Call
from shared.messages import (
    CallStarted,
    Control,
    Digit,
    Message,
    Playback,
    SpeechFinal,
    SpeechPartial,
    SpeechStarted,
    SpeechStopped,
    TranscriptAgent,
    TranscriptCaller,
)

log = structlog.get_logger()

_CLOSE_S = 1.0


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
        self._outbox = Outbox(call)
        self._answerer = Answerer(call, provider, model, self._outbox, clock)
        self._answering: asyncio.Task[None] | None = None
        self._latency: dict[int, Latency] = {}
        """Of the newest reply, by its generation, until its audio starts."""
        self._timer: asyncio.TimerHandle | None = None
        self._digits = 0
        self._closed = False

    async def listen(self) -> None:
        """Subscribe to what the dialogue hears of."""
        channel = self._call.channel
        await channel.on(self._on_speech, SpeechStarted, SpeechPartial, SpeechFinal, SpeechStopped)
        await channel.on(self._on_playback, Playback)
        await channel.on(self._on_digit, Digit)
        await channel.on(self._on_started, CallStarted)

    async def _on_speech(self, message: Message) -> None:
        if isinstance(message, SpeechStarted | SpeechPartial | SpeechFinal | SpeechStopped):
            self._act(self._turns.handle(message, self._clock()))

    async def _on_playback(self, message: Message) -> None:
        if not isinstance(message, Playback):
            return
        over = message.state in ("finished", "cleared")
        reply = self._memory.heard(message.generation, message.heard, over=over)
        if reply is not None and message.state == "started":
            self._measure(reply.turn_id, message)
        if reply is not None and over:
            if message.heard.strip():
                self._outbox.send(
                    TranscriptAgent(
                        turn_id=reply.turn_id,
                        generation=reply.generation,
                        text=message.heard,
                        interrupted=message.state == "cleared",
                    )
                )
            self._save()
        # After the memory: a turn that waited for the reply to end must see it.
        self._act(self._turns.handle(message, self._clock()))

    async def _on_digit(self, message: Message) -> None:
        self._digits += 1
        log.info("digits_pressed", call_id=self._call.id, count=self._digits)

    async def _on_started(self, message: Message) -> None:
        greeting = self._call.profile.greeting
        if self._memory.begun or not greeting.strip():
            return
        reply = self._reply(turn_id=0)
        clauses = Clauses(len(greeting))
        for piece in (*clauses.feed(greeting), *clauses.flush()):
            reply.say(piece)
        reply.end()
        self._save()

    def _reply(self, turn_id: int) -> Reply:
        generation = self._memory.reply_began(turn_id)
        self._turns.reply_began(generation)
        return Reply(generation, turn_id, self._outbox.send)

    def _act(self, actions: Sequence[Action]) -> None:
        if self._closed:
            return
        for action in actions:
            if isinstance(action, Commit):
                self._commit(action)
            else:
                self._interrupt()
        self._arm()

    def _commit(self, commit: Commit) -> None:
        self._stop_answering()
        turn_id = self._memory.caller_said(commit.text)
        self._outbox.send(TranscriptCaller(turn_id=turn_id, text=commit.text))
        messages = self._memory.prompt(system_prompt(self._call.profile))
        reply = self._reply(turn_id)
        latency = Latency(commit, self._clock())
        self._latency = {reply.generation: latency}
        self._save()
        self._answering = self._call.spawn(self._answerer.answer(reply, messages, latency))

    def _interrupt(self) -> None:
        self._stop_answering()
        self._outbox.send(Control(action="clear", generation=self._memory.next_generation()))
        self._save()

    def _stop_answering(self) -> None:
        if self._answering is not None:
            self._answering.cancel()
            self._answering = None

    def _measure(self, turn_id: int, playback: Playback) -> None:
        latency = self._latency.pop(playback.generation, None)
        turn = latency.completed(turn_id, playback) if latency is not None else None
        if turn is not None:
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
        self._act(self._turns.tick(self._clock()))

    async def close(self) -> None:
        """The call has ended or moved on."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._stop_answering()
        await self._outbox.close(_CLOSE_S)
        await self._store.close(_CLOSE_S)
        await self._answerer.close()
