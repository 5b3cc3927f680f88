"""The agent's side of a dialogue: its newest reply, from the model to tts, whoever dies on the way."""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from services.llm.actions import Commit
from services.llm.answer import Answerer
from services.llm.draft import Draft
from services.llm.latency import Latency, Stopwatch
from services.llm.memory import Memory
from services.llm.outbox import Outbox
from services.llm.prompt import system_prompt
from services.llm.provider import ChatMessage
from services.llm.record import Entry, Spoken
from services.llm.reply import Reply
from services.llm.turns import Turns
from shared.call import Call
from shared.messages import Control, Message, Playback, ReplyOnLine, ReplyText, TranscriptAgent

log = structlog.get_logger()

_UNASKED = 0
"""The turn that a greeting or a reprompt answers: none."""


class Speaker:
    """Says what the dialogue decides, and keeps memory and turns up to date about it."""

    def __init__(
        self,
        call: Call,
        memory: Memory,
        turns: Turns,
        outbox: Outbox,
        answerer: Answerer,
        save: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`save` keeps the memory's record."""
        self._call = call
        self._memory = memory
        self._turns = turns
        self._outbox = outbox
        self._answerer = answerer
        self._save = save
        self._clock = clock
        self._reply: Reply | None = None
        """The newest."""
        self._answering: asyncio.Task[None] | None = None
        self._draft: Draft | None = None
        self._stopwatch = Stopwatch()
        self._voice_lost = False
        """tts is gone: what is said now is kept until another has the call."""
        self._voice_epoch = 0

    def say(self, text: str, *, protected: bool = False) -> Reply:
        """Say `text` without being asked, whole, so that tts finds it among what it has rendered before."""
        self.stop()
        reply = self._begin(_UNASKED, protected=protected)
        reply.say(text)
        reply.end()
        self._save()
        return reply

    def answer(self, turn_id: int, commit: Commit, decided_at: float) -> None:
        """Answer the newest turn; `decided_at`: when the message that allowed the commit was published."""
        self.stop()
        messages = self._prompt()
        reply = self._begin(turn_id)
        latency = Latency(commit, decided_at, self._clock())
        self._stopwatch.start(reply.generation, latency)
        # First: what is written already is saved with the turn that it answers.
        self._answering = self._call.spawn(self._answer(reply, messages, latency))
        self._save()

    def prepare(self, text: str) -> None:
        """The turn is likely to be over with `text`: have its answer written; nobody hears it."""
        self._discard_draft()
        self._draft = self._answerer.prepare(self._prompt(text))

    def _prompt(self, upcoming: str = "") -> list[ChatMessage]:
        return self._memory.prompt(system_prompt(self._call.profile), upcoming)

    def _begin(self, turn_id: int, *, protected: bool = False) -> Reply:
        spoken = self._memory.reply_began(turn_id, protected=protected)
        self._turns.reply_began(spoken.generation, self._clock(), protected=protected)
        self._reply = Reply(spoken, self._send)
        return self._reply

    def _send(self, message: Message) -> None:
        """Send a part of the newest reply, which holds it already."""
        if isinstance(message, ReplyText):
            self._turns.agent_said(message.text, self._clock())
        # First: what tts has heard of, a successor must know of.
        self._save()
        if not self._voice_lost:
            self._outbox.send(message)

    async def _answer(self, reply: Reply, messages: Sequence[ChatMessage], latency: Latency) -> None:
        draft, self._draft = self._draft, None
        if await self._answerer.answer(reply, messages, latency, draft):
            # Nothing comes between the reply's end and this: they are saved together.
            self.hang_up(reply.generation, "conversation_complete")

    def interrupt(self) -> None:
        """The reply is void."""
        self.stop()
        generation = self._memory.next_generation()
        self._save()
        self._outbox.send(Control(action="clear", generation=generation))

    def hang_up(self, generation: int, reason: str) -> None:
        """The call ends when the reply `generation` was heard; 0: at once."""
        log.info("agent_hangs_up", call_id=self._call.id, generation=generation, reason=reason)
        self.stop()
        self._order_hang_up(generation)

    def _order_hang_up(self, generation: int) -> None:
        self._memory.record.hang_up = generation
        self._save()
        self._outbox.send(Control(action="hangup", generation=generation))

    def follow(self, playback: Playback) -> None:
        """The caller has heard more."""
        over, cleared = playback.state in ("finished", "cleared"), playback.state == "cleared"
        entry = self._memory.heard(playback.generation, playback.heard, over=over, interrupted=cleared)
        if entry is None:
            return
        turn = self._stopwatch.follow(playback, entry.turn_id)
        if turn is not None:
            self._outbox.record(turn)
        if over:
            self._tell(entry)
            self._save()

    def _tell(self, entry: Entry) -> None:
        """Say to people what the caller heard of a reply."""
        if entry.content.strip():
            self._outbox.send(
                TranscriptAgent(
                    turn_id=entry.turn_id,
                    generation=entry.generation,
                    text=entry.content,
                    interrupted=entry.interrupted,
                )
            )

    def take_up(self, line: ReplyOnLine) -> None:
        """Go on for another worker in mid-call; `line` is how far its newest reply is there."""
        record = self._memory.record
        if line.generation > record.generation:
            # The worker before died before it was saved; the caller's words are told again and answered anew.
            record.generation = line.generation
            self._memory.next_generation()
        void = line.generation < record.generation
        entry = self._memory.heard(line.generation, line.heard, over=line.over or void, interrupted=void)
        if entry is not None and not entry.playing:
            self._tell(entry)
        if void and line.generation and not line.over:
            self._outbox.send(Control(action="clear", generation=record.generation))
        self._turns.resume(self._clock(), record.alive, line)
        if record.alive is not None:
            self._go_on(record.alive, line)
        if record.hang_up is not None:
            self._order_hang_up(record.hang_up)
        self._save()

    def _go_on(self, spoken: Spoken, line: ReplyOnLine) -> None:
        reply = self._reply
        if reply is None or reply.spoken is not spoken:
            reply = self._reply = Reply(spoken, self._send)
        for message in reply.again(line):
            self._outbox.send(message)
        self._continue(reply)

    def _continue(self, reply: Reply) -> None:
        """Have the rest of a reply written whose writer is gone."""
        if reply.spoken.ended or self._answering is not None:
            return
        now = self._clock()
        messages = self._memory.prompt_of(reply.spoken, system_prompt(self._call.profile))
        # Nobody knows when the caller's turn ended: it is not measured.
        unmeasured = Latency(Commit("", now, now), now, now)
        self._answering = self._call.spawn(self._answer(reply, messages, unmeasured))

    def change_line(self) -> None:
        """The line is gone and another is open: say there what the caller has not heard."""
        record, now = self._memory.record, self._clock()
        self._voice_lost = False
        self._stopwatch.drop()
        hang_up, spoken = record.hang_up, record.alive
        entry = self._memory.line_lost()
        if entry is not None:
            self._tell(entry)
        reply = self._reply
        if spoken is not None and reply is None:
            reply = self._reply = Reply(spoken, self._send)
        if spoken is not None and reply is not None and not reply.heard_out:
            moved = self._memory.reply_began(spoken.turn_id, protected=spoken.protected, continues=True)
            self._turns.reply_began(moved.generation, now, protected=spoken.protected)
            reply.move(moved)
            self._continue(reply)
        if hang_up is not None:
            self._order_hang_up(record.generation if hang_up and record.alive is not None else 0)
        self._save()

    def lose_voice(self, epoch: int) -> None:
        """The tts worker with this lease is gone."""
        self._voice_lost = self._voice_lost or epoch >= self._voice_epoch

    def change_voice(self, epoch: int, line: ReplyOnLine) -> None:
        """Another tts worker has the lease `epoch`: it says what the line does not have of the newest reply."""
        self._voice_epoch, self._voice_lost = epoch, False
        if self._reply is not None and self._memory.record.alive is not None:
            for message in self._reply.again(line):
                self._outbox.send(message)

    def stop(self) -> None:
        """Nothing more is written of the newest reply."""
        if self._answering is not None and self._answering is not asyncio.current_task():
            self._answering.cancel()
        self._answering = None

    def _discard_draft(self) -> None:
        if self._draft is not None:
            self._draft.discard()
            self._draft = None

    def close(self) -> None:
        """The call has ended or moved on."""
        self.stop()
        self._discard_draft()
